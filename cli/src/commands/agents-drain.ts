/** `devmesh agents drain`. */
import { agentToJson, showAgentStatus } from "../agent-text.ts";
import type { Command } from "../command.ts";

/** The command. */
export const command: Command = {
  summary: "Lets a runner take no new jobs; what it runs goes on to its end.",
  usage: "agents drain ID",
  options: {},
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const agent = await devmesh().agents.drain(id, { signal: interrupts.signal });
    if (output.json) await output.document({ agent: agentToJson(agent) });
    else {
      const status = showAgentStatus(agent.status, paint);
      await output.data(`${agent.id} ${status}, ${agent.running} jobs running\n`);
    }
    return 0;
  },
};
