/**
 * Where one sandbox lies on the host: its folder with the image, and what its
 * user reaches: the mounted disk and `/etc`. What runs there is left to others.
 */
import { mkdirSync, rmdirSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { forgetSandboxFolder, makeSandboxFolder } from "../sandbox-folders.ts";
import { makeWorkDisk, ownWorkDisk, removeFolder, type WorkDisk } from "../work-disk.ts";
import { makeEtc, type ProcessHost } from "./host.ts";

/** The place of a sandbox. */
export interface SandboxPlace {
  /** The folder that its user can reach. */
  readonly reach: string;
  /** What it sees as `/etc`. */
  readonly etc: string;
  readonly disk: WorkDisk;
}

function placeOf(host: ProcessHost, id: string): SandboxPlace {
  const reach = join(host.reach, id);
  const disk = join(reach, "disk");
  return {
    ...{ reach, etc: join(reach, "etc") },
    disk: { work: join(disk, "work"), tmp: join(disk, "tmp") },
  };
}

/** Notes a name as this process's. Throws if there is such a place, and leaves it alone. */
export async function reservePlace(host: ProcessHost, id: string): Promise<void> {
  await makeSandboxFolder(host.base, id);
}

/** Makes a place whose name is reserved. What it leaves when it throws, `removePlace` takes away. */
export async function makePlace(
  host: ProcessHost,
  id: string,
  diskMib: number,
): Promise<SandboxPlace> {
  const place = placeOf(host, id);
  mkdirSync(place.reach, { recursive: true, mode: 0o711 });
  makeEtc(place.etc);
  await makeWorkDisk({
    ...{ folder: join(host.base, id), kind: host.disk, diskMib },
    mountPoint: join(place.reach, "disk"),
    templates: join(host.base, "templates"),
  });
  return place;
}

/** Gives a place, with all that is mounted in it, another name, which is reserved. */
export async function renamePlace(
  host: ProcessHost,
  from: string,
  to: string,
): Promise<SandboxPlace> {
  // Wherever this ends, both names are known as somebody's.
  await rename(join(host.base, from), join(host.base, to));
  if (host.reach !== host.base) await rename(join(host.reach, from), join(host.reach, to));
  await forgetSandboxFolder(host.base, from);
  return placeOf(host, to);
}

/** Makes a place a user's own. */
export async function ownPlace(place: SandboxPlace, user: number | undefined): Promise<void> {
  if (user !== undefined) await ownWorkDisk(place.disk, user);
}

/** Removes what there is of a place in which nothing runs. */
export async function removePlace(host: ProcessHost, id: string): Promise<void> {
  await removeFolder(join(host.reach, id));
  await removeFolder(join(host.base, id));
  await forgetSandboxFolder(host.base, id);
  if (host.reach !== host.base) removeIfEmpty(host.reach);
}

/** Synchronous, as is the making of folders in it: neither comes between the other's steps. */
function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error: unknown) {
    // Another sandbox's things lie in it, or it is gone already.
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw error;
  }
}
