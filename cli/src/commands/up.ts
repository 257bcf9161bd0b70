/** `devmesh up`: hands over to the platform. */
import type { Command } from "../command.ts";
import { findPlatform, loadPlatform, toExitCode } from "../platform-door.ts";

/** The command; its options are the platform's own. */
export const command: Command = {
  summary: "Starts all services on this machine.",
  usage: "up [options of the platform]",
  options: {},
  passThrough: true,
  showMoreHelp: async () => {
    const platform = await findPlatform();
    if (platform === undefined) return;
    process.stdout.write("\n");
    await platform.runUp(["--help"]);
  },
  run: async ({ args }) => toExitCode(await (await loadPlatform()).runUp([...args.raw])),
};
