/**
 * The folders of a driver's sandboxes on the host, each with a note of the
 * process that made it. Removing what such a folder stands for is left to the
 * drivers.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { formatOwner, isAlive, parseOwner, thisOwner } from "./owner.ts";

const noteSuffix = ".owner";

/**
 * Makes the folder of a sandbox, noted as this process's. Throws if there is
 * one. The note is written first, so that a folder without a note is a leftover.
 */
export async function makeSandboxFolder(base: string, id: string): Promise<string> {
  if (!/^[a-z0-9_-]{1,64}$/i.test(id))
    throw new Error(`${JSON.stringify(id)} cannot name a sandbox`);
  await mkdir(base, { recursive: true, mode: 0o755 });
  const note = formatOwner(await thisOwner());
  try {
    await writeFile(join(base, id + noteSuffix), note, { mode: 0o600, flag: "wx" });
  } catch (error: unknown) {
    // Another's note stays; one that the disk had no room for goes.
    const isOthers = error instanceof Error && "code" in error && error.code === "EEXIST";
    if (!isOthers) await forgetSandboxFolder(base, id);
    throw error;
  }
  const folder = join(base, id);
  try {
    await mkdir(folder, { mode: 0o711 });
    return folder;
  } catch (error: unknown) {
    await forgetSandboxFolder(base, id);
    throw error;
  }
}

/** Takes the note away, after all else of the sandbox. */
export async function forgetSandboxFolder(base: string, id: string): Promise<void> {
  await rm(join(base, id + noteSuffix), { force: true });
}

/** The ids of sandboxes whose process lives no more. */
export async function leftovers(base: string): Promise<string[]> {
  await mkdir(base, { recursive: true, mode: 0o755 });
  const ids = new Set<string>();
  for (const name of await readdir(base)) {
    const id = name.endsWith(noteSuffix) ? name.slice(0, -noteSuffix.length) : name;
    if (id.startsWith("sbx_") && !(await isOwned(base, id))) ids.add(id);
  }
  return [...ids].sort();
}

async function isOwned(base: string, id: string): Promise<boolean> {
  try {
    const owner = parseOwner(await readFile(join(base, id + noteSuffix), "utf8"));
    return owner !== undefined && (await isAlive(owner));
  } catch (error: unknown) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
