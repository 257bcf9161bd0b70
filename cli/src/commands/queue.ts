/** `devmesh queue`. */
import type { Command } from "../command.ts";
import { showQueue } from "../queue-text.ts";

/** The command. */
export const command: Command = {
  summary: "Shows how many jobs wait and run, and whether the queue is paused.",
  usage: "queue",
  options: {},
  notes: "`devmesh queue pause` starts no more jobs, `devmesh queue resume` goes on.",
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    await showQueue(await devmesh().queue.get({ signal: interrupts.signal }), output);
    return 0;
  },
};
