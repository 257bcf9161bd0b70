/**
 * The work dir of a sandbox on the host: on an ext4 image of its own size where
 * the host lets us mount one, in a plain folder otherwise. Ending what uses it
 * is left to the drivers.
 */
import { randomInt } from "node:crypto";
import { chown, mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { withDiskTemplate } from "./disk-templates.ts";
import { type Mount, readMounts } from "./mount-table.ts";
import { runTool } from "./run-tool.ts";
import { forgetSandboxFolder, makeSandboxFolder } from "./sandbox-folders.ts";

/** How the size of work dirs is bounded on this host. */
export type DiskKind = "image" | "folder";

/** A folder of the host that shall be reachable below the sandbox's own folder. */
export interface StagedBind {
  readonly source: string;
  /** Exists already, of the same kind (file or folder). */
  readonly target: string;
}

/** What to make. */
export interface WorkDiskOptions {
  /** The sandbox's own folder, where the image lies. */
  readonly folder: string;
  /** Where the disk appears; made. */
  readonly mountPoint: string;
  /** Where formatted images are kept, one for each of the sizes that were used last. */
  readonly templates: string;
  readonly kind: DiskKind;
  readonly diskMib: number;
  /** Who owns `work` and `tmp`; absent: this process's user. */
  readonly user?: number;
}

/** The two folders of a disk. */
export interface WorkDisk {
  readonly work: string;
  readonly tmp: string;
}

/** Arguments: template, image, disk. */
const imageScript = `cp --sparse=always --reflink=auto "$1" "$2"
mount -t ext4 -o loop,nosuid,nodev,noatime "$2" "$3"`;

/** Arguments: pairs to bind. */
const bindScript = 'while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done';

/** Makes the disk. What it leaves when it throws, `removeFolder` takes away. */
export async function makeWorkDisk(options: WorkDiskOptions): Promise<WorkDisk> {
  const { folder, kind, mountPoint: disk } = options;
  await mkdir(disk, { mode: 0o755 });
  if (kind === "image") {
    const image = join(folder, "disk.img");
    await withDiskTemplate(options.templates, options.diskMib, async (template) => {
      // Not under the caller's signal: a mount that is under way cannot be taken back.
      await runTool("sh", ["-ec", imageScript, "sh", template, image, disk]);
    });
  }
  const made = { work: join(disk, "work"), tmp: join(disk, "tmp") };
  for (const path of Object.values(made)) await mkdir(path, { mode: 0o755 });
  if (options.user !== undefined) await ownWorkDisk(made, options.user);
  return made;
}

/** Makes a disk a user's own. */
export async function ownWorkDisk(disk: WorkDisk, user: number): Promise<void> {
  for (const path of [disk.work, disk.tmp]) await chown(path, user, user);
}

/** Shows folders and files of the host at other places of it. */
export async function bindAll(binds: readonly StagedBind[]): Promise<void> {
  if (binds.length === 0) return;
  const pairs = binds.flatMap(({ source, target }) => [source, target]);
  await runTool("sh", ["-ec", bindScript, "sh", ...pairs]);
}

/** Takes a sandbox's folder away with all that is mounted below it. */
export async function removeFolder(folder: string): Promise<void> {
  for (const mount of await mountsBelow(folder)) {
    try {
      await runTool("umount", [mount]);
    } catch {
      // Busy in another mount namespace for a moment: it goes when that one does.
      await runTool("umount", ["--lazy", mount]);
    }
  }
  for (let triesLeft = 5; ; triesLeft--) {
    try {
      await rm(folder, { recursive: true, force: true });
      return;
    } catch (error: unknown) {
      const isClosed = error instanceof Error && "code" in error && error.code === "EACCES";
      if (!isClosed || triesLeft === 0) throw error;
      // Folders that a program made unreadable for their owner. What else lies there may still be
      // going while this looks, which is no failure: whether all is gone, the next try tells.
      await runTool("chmod", ["-R", "u+rwX", folder]).catch(() => {});
    }
  }
}

/** Finds out by doing it whether images can be mounted. */
export async function findDiskKind(scratch: string): Promise<DiskKind> {
  // Named and noted as a sandbox: one that is cut off is removed as its leftovers are.
  const id = `sbx_disk${process.pid}x${randomInt(1_000_000)}`;
  const folder = await makeSandboxFolder(scratch, id);
  try {
    const mountPoint = join(folder, "disk");
    await makeWorkDisk({
      folder,
      mountPoint,
      templates: join(folder, "t"),
      kind: "image",
      diskMib: 16,
    });
    return "image";
  } catch {
    // No right to mount, no loop devices, no mkfs: the weaker kind, which the probe names.
    return "folder";
  } finally {
    await removeFolder(folder);
    await forgetSandboxFolder(scratch, id);
  }
}

/** True if every other user of the host may pass through to the path. */
export async function isReachableByAll(path: string): Promise<boolean> {
  const parts = path.split("/").slice(0, -1);
  for (let depth = 1; depth <= parts.length; depth++) {
    const { mode } = await stat(parts.slice(0, depth).join("/") || "/");
    if ((mode & 0o001) === 0) return false;
  }
  return true;
}

async function mountsBelow(folder: string): Promise<string[]> {
  let mounts: Mount[];
  try {
    mounts = await readMounts();
  } catch {
    // No /proc: no mounts of ours.
    return [];
  }
  return mounts
    .map(({ path }) => path)
    .filter((path) => path.startsWith(`${folder}/`))
    .reverse();
}
