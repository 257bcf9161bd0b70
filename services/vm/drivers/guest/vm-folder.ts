/**
 * Owns the folder that each sandbox has on the host, by which leftovers of processes that
 * died are found and removed. What lies in it is its maker's business.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { formatOwner, isAlive, parseOwner, thisOwner } from "../owner.ts";

const ownerFile = "owner";
const deathLimitMs = 5_000;
const deathPollMs = 20;

/** Makes the folder of sandbox `id` below `parent`; it appears with its owner in it. */
export async function makeVmFolder(parent: string, id: string): Promise<string> {
  await mkdir(parent, { recursive: true });
  const draft = join(parent, `.${process.pid}.${randomBytes(6).toString("hex")}`);
  const folder = join(parent, id);
  try {
    await mkdir(draft, { mode: 0o700 });
    await writeFile(join(draft, ownerFile), formatOwner(await thisOwner()));
    // Fails when the folder is there already, since it is never empty.
    await rename(draft, folder);
    return folder;
  } catch (error: unknown) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Ends the virtual machines and removes the folders of processes that do not live any more;
 * answers the sandboxes' ids. `clear` removes what else a sandbox has on the host; `isOf` tells
 * by a command line whether a process is a sandbox's machine. Default: a QEMU. Folders of
 * living processes are left alone.
 */
export async function reapVmFolders(
  parent: string,
  clear: (id: string) => Promise<void>,
  isOf: (words: readonly string[], id: string) => boolean = isGuest,
): Promise<string[]> {
  const reaped: string[] = [];
  for (const name of await entries(parent)) {
    const folder = join(parent, name);
    if (name.startsWith(".")) {
      if (!lives(Number(name.split(".")[1]))) await rm(folder, { recursive: true, force: true });
      continue;
    }
    const owner = parseOwner(await readFile(join(folder, ownerFile), "utf8").catch(() => ""));
    if (owner && (await isAlive(owner))) continue;
    await endLeftovers(name, isOf);
    await clear(name);
    await rm(folder, { recursive: true, force: true });
    reaped.push(name);
  }
  return reaped;
}

type IsOf = (words: readonly string[], id: string) => boolean;

/** QEMU names its guest in its command line. */
const isGuest: IsOf = (words, id) => words[words.indexOf("-name") + 1] === `guest=${id}`;

/** Kills every machine whose command line names this sandbox, and waits until it is gone. */
async function endLeftovers(id: string, isOf: IsOf): Promise<void> {
  const deadline = Date.now() + deathLimitMs;
  for (;;) {
    const left = await machinesOf(id, isOf);
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`QEMU of ${id} (${left.join(", ")}) does not end`);
    for (const pid of left) kill(pid);
    await delay(deathPollMs);
  }
}

async function machinesOf(id: string, isOf: IsOf): Promise<number[]> {
  const pids: number[] = [];
  for (const name of await entries("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // Empty for a process that has just ended, or that waits to be collected.
    const line = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (isOf(line.split("\0"), id)) pids.push(Number(name));
  }
  return pids;
}

/** Without `/proc` (macOS) a guest ends by itself when its host's end of the port closes. */
async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error: unknown) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error: unknown) {
    // It has ended by itself between the look and the signal.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error: unknown) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
