/** `devmesh agents`. */
import { agentToJson, formatAgents } from "../agent-text.ts";
import type { Command } from "../command.ts";

/** The command. */
export const command: Command = {
  summary: "Lists the runners, alive ones first.",
  usage: "agents",
  options: {},
  notes: "`devmesh doctor` tells what each can give and what is missing.",
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    args.words();
    const agents = await devmesh().agents.list({ signal: interrupts.signal });
    if (output.json) await output.document({ agents: agents.map(agentToJson) });
    else if (agents.length === 0) await output.talk("no runners; jobs wait until one is there");
    else await output.data(formatAgents(agents, paint));
    return 0;
  },
};
