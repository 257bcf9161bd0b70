/**
 * Where things that are slow to get are kept between runs, and the locks that let
 * several processes get each of them once. What is kept is the caller's business.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";

const lockPollMs = 100;
const buildWaitMs = 1_800_000;
const sqliteBusy = 5;

/** The cache folder: `DEVMESH_CACHE_DIR`, or `.cache/devmesh` in the home folder. */
export function cacheDir(): string {
  return process.env.DEVMESH_CACHE_DIR || join(homedir(), ".cache", "devmesh");
}

/** A lock held across processes. The kernel gives it up when the holder dies. */
export interface Lock {
  release(): void;
}

/**
 * Takes the lock `name`, waiting at most `waitMs`; `undefined` when another holder has kept it
 * that long. Two holders in one process exclude each other as well.
 */
export async function holdLock(name: string, waitMs: number): Promise<Lock | undefined> {
  const folder = join(cacheDir(), "locks");
  await mkdir(folder, { recursive: true });
  const deadline = Date.now() + waitMs;
  for (;;) {
    const database = new DatabaseSync(join(folder, `${name}.lock`), { timeout: 0 });
    try {
      // The open transaction is the lock: SQLite holds it by a file lock of the kernel.
      database.exec("BEGIN EXCLUSIVE");
      return { release: () => database.close() };
    } catch (error: unknown) {
      database.close();
      if (!isBusy(error)) throw error;
    }
    const left = deadline - Date.now();
    if (left <= 0) return undefined;
    await delay(Math.min(lockPollMs, left));
  }
}

/** Runs `work` while holding the lock `name`. Throws when it is not had within `waitMs`. */
export async function withLock<T>(
  name: string,
  waitMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const lock = await holdLock(name, waitMs);
  if (!lock) throw new Error(`another process has held the lock ${name} for ${waitMs} ms`);
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/**
 * The cached folder `key`, built by `build` into an empty folder when it is not there yet.
 * It appears whole or not at all, and only one process builds it. `key` is a file name that
 * changes with everything the content depends on. Throws what `build` throws.
 */
export async function cached(
  key: string,
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const target = join(cacheDir(), key);
  if (existsSync(target)) return target;
  return await withLock(key, buildWaitMs, async () => {
    if (existsSync(target)) return target;
    await removeLeftovers(target);
    const folder = `${target}.${randomBytes(4).toString("hex")}.tmp`;
    await mkdir(folder, { recursive: true });
    try {
      await build(folder);
      await rename(folder, target);
    } catch (error: unknown) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    return target;
  });
}

/** The holder of the lock is the only builder, so any other build of this key has died. */
async function removeLeftovers(target: string): Promise<void> {
  const parent = dirname(target);
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    if (name.startsWith(`${basename(target)}.`) && name.endsWith(".tmp")) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === sqliteBusy;
}
