/** Finders for what sandboxes leave in file systems: folders, halves of files, their doors' sockets. */
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

/** Halves of files, by room: each is named by the process that makes it. */
const draftNames = [
  { room: /^mounts$/, below: "", name: /^\.(\d+)\.\w+/ },
  { room: /^journal$/, below: "", name: /^(\d+)-\w+\.jsonl\.new$/ },
  { room: /^\w+$/, below: "templates", name: /^ext4-\d+\.img\.(\d+)-\d+$/ },
];

/** Disks, images of mounts and journals that were being written when their process died. */
export const draftFinder: LeftoverFinder = {
  kind: "draft",
  find: async ({ stateDir }) => {
    const found: Leftover[] = [];
    const rooms = (await readdir(stateDir, { withFileTypes: true })).filter((at) =>
      at.isDirectory(),
    );
    for (const { room, below, name } of draftNames) {
      for (const { name: of } of rooms.filter((at) => room.test(at.name))) {
        const folder = join(stateDir, of, below);
        for (const file of await readdir(folder).catch(() => [])) {
          const pid = name.exec(file)?.[1];
          // A number that is somebody else's by now: it goes when that one has ended.
          if (pid === undefined || lives(Number(pid))) continue;
          const path = join(folder, file);
          const remove = () => rm(path, { recursive: true, force: true });
          found.push({ kind: "draft", name: path, sandboxId: "", remove });
        }
      }
    }
    return found;
  },
};

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error: unknown) {
    // EPERM: it is there and somebody else's.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

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
