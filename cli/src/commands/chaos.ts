/** `devmesh chaos`: hands over to the tool that comes with the platform. */
import type { Command } from "../command.ts";
import { findPlatform, loadPlatform, toExitCode } from "../platform-door.ts";

/** The command; its options are the tool's own. */
export const command: Command = {
  summary: "Kills parts of a throw-away platform under load and verifies that nothing was lost.",
  usage: "chaos [options of the tool]",
  options: {},
  passThrough: true,
  showMoreHelp: async () => {
    const platform = await findPlatform();
    if (platform === undefined) return;
    process.stdout.write("\n");
    await platform.runChaos(["--help"]);
  },
  run: async ({ args }) => toExitCode(await (await loadPlatform()).runChaos([...args.raw])),
};
