/** `devmesh serve`: hands over to the platform. */
import type { Command } from "../command.ts";
import { loadPlatform, toExitCode } from "../platform-door.ts";
import { UsageError } from "../usage-error.ts";

const services = ["api", "mcp", "inference", "vm"];

/** The command. */
export const command: Command = {
  summary: "Starts one service alone, as in a container.",
  usage: `serve ${services.join("|")}`,
  options: {},
  notes: "Its settings are environment variables: see docs/configuration.md.",
  run: async ({ args }) => {
    const [name = ""] = args.positionals;
    if (!services.includes(name)) {
      const wrong = name === "" ? "the service is missing" : `there is no service "${name}"`;
      throw new UsageError(wrong, `one of: ${services.join(", ")}`);
    }
    args.words("SERVICE");
    return toExitCode(await (await loadPlatform()).runServe(name));
  },
};
