/** Restores a section into a SQLite file, which gets its name when it is whole and durable. */
import { existsSync, statSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { inTransaction, type Migration, openSqlite } from "../database/index.ts";
import { SqliteLoad } from "./load.sqlite.ts";
import {
  loadSection,
  notEmpty,
  type PreparedRestore,
  type RestoreSource,
  sectionOf,
} from "./restore.ts";

/** Where to, and what comes after the rows. */
export interface RestoreSqliteOptions {
  readonly source: RestoreSource;
  readonly path: string;
  readonly migrations: readonly Migration[];
  /** Runs in a transaction on the restored rows under the newest schema. Default: nothing. */
  readonly finish?: (db: DatabaseSync) => void;
}

/** Throws ALREADY_EXISTS if there is a file. */
export function checkNoSqlite(path: string): void {
  if (existsSync(path)) throw notEmpty(path, `${statSync(path).size} bytes`);
}

/** Throws ALREADY_EXISTS, INVALID_FIELD, STORE_TOO_NEW; leaves nothing then. */
export async function prepareSqlite(options: RestoreSqliteOptions): Promise<PreparedRestore> {
  const { source, path, migrations, finish } = options;
  checkNoSqlite(path);
  const { summary, upTo } = sectionOf(source, migrations);
  const beside = `${path}.restoring`;
  const abandon = async () => {
    for (const end of ["", "-wal", "-shm"]) await rm(`${beside}${end}`, { force: true });
  };
  await abandon();
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await fill(beside, upTo, async (db) => {
      db.exec("BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON");
      await loadSection(source, summary, new SqliteLoad(db));
      db.exec("COMMIT");
    });
    await fill(beside, migrations, async (db) => {
      if (finish !== undefined) inTransaction(db, () => finish(db));
      db.exec("PRAGMA wal_checkpoint (TRUNCATE)");
    });
    await sync(beside);
  } catch (error) {
    await abandon();
    throw error;
  }
  return {
    async commit() {
      checkNoSqlite(path);
      await rename(beside, path);
      await sync(dirname(path));
    },
    abandon,
  };
}

async function fill(
  path: string,
  migrations: readonly Migration[],
  work: (db: DatabaseSync) => Promise<void>,
): Promise<void> {
  const db = openSqlite({ path, migrations, keepCopy: false });
  try {
    await work(db);
  } finally {
    db.close();
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
