/** `devmesh run`: a command as a job, with its live log. */
import type { Command } from "../command.ts";
import { submitJob, submitOptions } from "../submit.ts";
import { UsageError } from "../usage-error.ts";

/** The command. */
export const command: Command = {
  summary: "Runs a command as a job and shows its output live.",
  usage: "run [options] -- CMD [ARG…]",
  options: {
    ...submitOptions,
    env: {
      value: "K=V",
      short: "e",
      multiple: true,
      help: "an environment variable; may be repeated",
    },
  },
  notes:
    "The job's stdout goes to stdout and its stderr to stderr, byte by byte; the\n" +
    "exit code is the command's own. Ctrl-C cancels the job, a second one leaves it.\n" +
    "With --json stdout carries one JSON object a line: the job, then its events.",
  run: (context) => {
    const { positionals, rest = [] } = context.args;
    const [first] = positionals;
    if (first !== undefined || rest.length === 0) {
      const wrong = first === undefined ? "the command is missing" : `unexpected "${first}"`;
      throw new UsageError(wrong, "write the command behind --: devmesh run -- CMD ARG…");
    }
    return submitJob(context, { command: rest, env: context.args.pairs("env") });
  },
};
