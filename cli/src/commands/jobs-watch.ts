/** `devmesh jobs watch`. */
import type { Command } from "../command.ts";
import { exitCodeOfResult, followJob } from "../follow.ts";
import { createPaint } from "../style.ts";

/** The command. */
export const command: Command = {
  summary: "Follows a job's log to its end.",
  usage: "jobs watch ID [options]",
  options: { from: { value: "N", help: "start at this event (default: 1)" } },
  notes:
    "With --json stdout carries one event a line. Ctrl-C stops watching; the job goes on.\n" +
    "The exit code is 0 if the job succeeded and 1 if it failed.",
  run: async ({ args, output, env, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const from = args.integer("from", 0, 2 ** 32 - 1);
    const deps = { devmesh: devmesh(), output, paint: createPaint(env, output.talkStream) };
    const options = { signal: interrupts.signal, ...(from !== undefined && { from }) };
    return exitCodeOfResult(await followJob(deps, id, options), false);
  },
};
