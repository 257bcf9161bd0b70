/** `devmesh runner uninstall`. */
import type { Command } from "../command.ts";
import { loadPlatform } from "../platform-door.ts";
import { readSsh, sshOptions } from "../ssh-options.ts";

/** The command. */
export const command: Command = {
  summary: "Stops the runner on another machine, removes it and ends its token.",
  usage: "runner uninstall USER@HOST [options]",
  options: sshOptions,
  notes: "Its jobs go back to the queue first.",
  run: async ({ args, env, output, devmesh }) => {
    const target = readSsh(args, env);
    const { tokenId } = await (await loadPlatform()).uninstallRunner(target);
    if (tokenId !== "") await devmesh().tokens.revoke(tokenId);
    if (output.json) await output.document({ removed: target.host, tokenId });
    else await output.talk(`the runner on ${target.host} is removed`);
    return 0;
  },
};
