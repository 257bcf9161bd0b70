/** `devmesh restore`: hands over to the platform. */
import type { Command } from "../command.ts";
import { findPlatform, loadPlatform, toExitCode } from "../platform-door.ts";

/** The command; its options are the platform's own. */
export const command: Command = {
  summary: "Restores a backup into an empty place, while nothing runs there.",
  usage: "restore FILE [options of the platform]",
  options: {},
  passThrough: true,
  showMoreHelp: async () => {
    const platform = await findPlatform();
    if (platform === undefined) return;
    process.stdout.write("\n");
    await platform.runRestore(["--help"]);
  },
  run: async ({ args }) => toExitCode(await (await loadPlatform()).runRestore([...args.raw])),
};
