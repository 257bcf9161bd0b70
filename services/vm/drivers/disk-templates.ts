/**
 * Formatted images that disks are copied from, one for each size; those that were
 * used last are kept. Mounting copies is left to `work-disk.ts`.
 */
import { chmod, mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { runTool } from "./run-tool.ts";

/** How many sizes are kept in a folder. */
export const mostTemplates = 8;

/** A draft that is older than this belongs to nobody any more: making one takes seconds. */
const draftMs = 10 * 60 * 1000;

/** How many users an image has in this process now, by its path. */
const users = new Map<string, number>();

/**
 * Calls `use` with the image of that size, which is made if it is not there and stays until
 * `use` is done. Afterwards the least recently used go, until no more than `mostTemplates`
 * are left. Throws what making throws, and what `use` throws.
 */
export async function withDiskTemplate<T>(
  folder: string,
  diskMib: number,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(folder, `ext4-${diskMib}.img`);
  users.set(path, (users.get(path) ?? 0) + 1);
  try {
    if (!(await touched(path))) {
      await make(path, folder, diskMib);
      await trim(folder);
    }
    return await use(path);
  } finally {
    const left = (users.get(path) ?? 1) - 1;
    if (left === 0) users.delete(path);
    else users.set(path, left);
  }
}

/** Notes a use by the file's time; false if there is no such file. */
async function touched(path: string): Promise<boolean> {
  try {
    const now = new Date();
    await utimes(path, now, now);
    return true;
  } catch (error: unknown) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

async function make(path: string, folder: string, diskMib: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const made = `${path}.${process.pid}-${Date.now()}`;
  try {
    await runTool("truncate", ["--size", `${diskMib}M`, made]);
    // No journal: the disk does not outlive its sandbox. Nothing reserved for root.
    const features = ["-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,nodiscard"];
    // From this size on mkfs expects files of 16 KiB, which sources and their packages are not.
    if (diskMib >= 512) features.push("-i", "8192");
    await runTool("mkfs.ext4", ["-q", "-F", ...features, made]);
    await chmod(made, 0o600);
    await rename(made, path);
  } finally {
    await rm(made, { force: true });
  }
}

/** An image that goes while another process copies it stays open there to its end. */
async function trim(folder: string): Promise<void> {
  const known: { readonly path: string; readonly usedMs: number }[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const usedMs = (await stat(path).catch(() => undefined))?.mtimeMs;
    if (usedMs === undefined) continue;
    if (/^ext4-\d+\.img$/.test(name)) known.push({ path, usedMs });
    else if (/^ext4-\d+\.img\./.test(name) && Date.now() - usedMs > draftMs) await rm(path);
  }
  known.sort((a, b) => b.usedMs - a.usedMs);
  for (const { path } of known.slice(mostTemplates)) {
    if (!users.has(path)) await rm(path, { force: true });
  }
}
