/** `devmesh agents resume`. */
import { agentToJson, showAgentStatus } from "../agent-text.ts";
import type { Command } from "../command.ts";

/** The command. */
export const command: Command = {
  summary: "Lets a drained runner take jobs again.",
  usage: "agents resume ID",
  options: {},
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const agent = await devmesh().agents.resume(id, { signal: interrupts.signal });
    if (output.json) await output.document({ agent: agentToJson(agent) });
    else {
      const status = showAgentStatus(agent.status, paint);
      await output.data(`${agent.id} ${status}, ${agent.running} jobs running\n`);
    }
    return 0;
  },
};
