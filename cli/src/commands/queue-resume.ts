/** `devmesh queue resume`. */
import type { Command } from "../command.ts";
import { showQueue } from "../queue-text.ts";

/** The command. */
export const command: Command = {
  summary: "Starts jobs again after a pause.",
  usage: "queue resume",
  options: {},
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    await showQueue(await devmesh().queue.resume({ signal: interrupts.signal }), output);
    return 0;
  },
};
