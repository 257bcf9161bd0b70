/** Owns locks between processes of one host. What they guard is their users' business. */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";

const pollMs = 50;
const sqliteBusy = 5;

/**
 * Runs `work` while nobody else on this host holds the lock in the file `path`, whose folder
 * is there. The kernel gives the lock up when its holder dies. Throws when `signal` fires
 * before it is had.
 */
export async function exclusively<T>(
  path: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const lock = await taken(path, signal);
  try {
    return await work();
  } finally {
    lock.close();
  }
}

async function taken(path: string, signal: AbortSignal): Promise<DatabaseSync> {
  for (;;) {
    signal.throwIfAborted();
    const database = new DatabaseSync(path, { timeout: 0 });
    try {
      // The open transaction is the lock: SQLite holds it by a file lock of the kernel.
      database.exec("BEGIN EXCLUSIVE");
      return database;
    } catch (error: unknown) {
      database.close();
      if (!(error instanceof Error && "errcode" in error && error.errcode === sqliteBusy))
        throw error;
    }
    await delay(pollMs, undefined, { signal });
  }
}
