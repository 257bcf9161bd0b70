/** `devmesh serve`: hands over to the platform. */
import type { Command } from "../command.ts";
import { loadPlatform, toExitCode } from "../platform-door.ts";
import { UsageError } from "../usage-error.ts";

const services = ["api", "mcp", "inference", "vm"];

/** The command; its options are the platform's own. */
export const command: Command = {
  summary: "Starts one service alone, as in a container.",
  usage: `serve ${services.join("|")} [options of the service]`,
  options: {},
  passThrough: true,
  run: async ({ args }) => {
    const [name, ...rest] = args.raw;
    if (name === undefined || !services.includes(name)) {
      const wrong = name === undefined ? "the service is missing" : `there is no service "${name}"`;
      throw new UsageError(wrong, `one of: ${services.join(", ")}`);
    }
    return toExitCode(await (await loadPlatform()).runServe(name, rest));
  },
};
