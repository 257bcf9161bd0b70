/** Finders for what sandboxes leave in file systems: their folders and their doors' sockets. */
import { readdir, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeadOwner } from "../../drivers/door-folder.ts";
import { forgetSandboxFolder } from "../../drivers/sandbox-folders.ts";
import { removeFolder } from "../../drivers/work-disk.ts";
import type { Leftover, LeftoverFinder } from "../leftover.ts";

/** Folders of sandboxes, in every driver's room of the state folder. */
export const folderFinder: LeftoverFinder = {
  kind: "folder",
  find: async ({ stateDir }) => {
    const found: Leftover[] = [];
    for (const room of await readdir(stateDir, { withFileTypes: true })) {
      if (!room.isDirectory()) continue;
      const base = join(stateDir, room.name);
      const names = await readdir(base).catch(() => []);
      const ids = new Set(names.flatMap((name) => /^(sbx_\w+)(\.owner)?$/.exec(name)?.[1] ?? []));
      for (const id of ids) {
        const remove = async () => {
          await removeFolder(join(base, id));
          await forgetSandboxFolder(base, id);
        };
        found.push({ kind: "folder", name: join(base, id), sandboxId: id, remove });
      }
    }
    return found;
  },
};

/** Sockets of doors whose process is gone. They belong to no state folder: their name tells whose they were. */
export const doorFinder: LeftoverFinder = {
  kind: "door",
  find: async () => {
    const base = await realpath(tmpdir());
    const found: Leftover[] = [];
    for (const name of await readdir(base)) {
      if (!(await isDeadOwner(name))) continue;
      const path = join(base, name);
      const remove = () => rm(path, { recursive: true, force: true });
      found.push({ kind: "door", name: path, sandboxId: "", remove });
    }
    return found;
  },
};
