/** `devmesh queue pause`. */
import type { Command } from "../command.ts";
import { showQueue } from "../queue-text.ts";

/** The command. */
export const command: Command = {
  summary: "Starts no more jobs: they are accepted and wait; what runs goes on.",
  usage: "queue pause [options]",
  options: { detail: { value: "TEXT", help: "why, for those who wonder" } },
  run: async ({ args, output, interrupts, devmesh }) => {
    args.words();
    const detail = args.text("detail");
    const { signal } = interrupts;
    const queue = await devmesh().queue.pause({ signal, ...(detail !== undefined && { detail }) });
    await showQueue(queue, output);
    return 0;
  },
};
