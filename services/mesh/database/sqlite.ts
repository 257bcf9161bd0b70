/** Opens SQLite files the one way devmesh uses them, and migrates them. */
import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DevmeshError } from "../errors/index.ts";
import {
  type AppliedMigration,
  type Migration,
  migrationFailed,
  pendingMigrations,
} from "./migrations.ts";

/** Which file, and the schema it shall have. */
export interface SqliteOptions {
  /** A path, or `:memory:`. Its folder is made if it is missing. */
  readonly path: string;
  readonly migrations: readonly Migration[];
}

/**
 * Opens the file with a write-ahead log and foreign keys, and brings its
 * schema up to date in one transaction. Throws STORE_TOO_NEW, or UNAVAILABLE
 * if the file is no database or cannot be written.
 */
export function openSqlite({ path, migrations }: SqliteOptions): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    db = new DatabaseSync(path, { timeout: 10_000, enableForeignKeyConstraints: true });
    if (path !== ":memory:") chmodSync(path, 0o600);
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  } catch (cause) {
    db?.close();
    throw new DevmeshError("UNAVAILABLE", `cannot open the SQLite file ${path}`, { cause });
  }
  try {
    migrate(db, path, migrations);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

/** Runs `work` between BEGIN IMMEDIATE and COMMIT; rolls back when it throws. */
export function inTransaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    db.exec("COMMIT");
    return result;
  } catch (error) {
    try {
      // On some failures (a full disk) SQLite has rolled back by itself.
      if (db.isTransaction) db.exec("ROLLBACK");
    } catch {
      // Why the work failed says more than why it cannot be undone; SQLite undoes it at the close.
    }
    throw error;
  }
}

function migrate(db: DatabaseSync, path: string, known: readonly Migration[]): void {
  inTransaction(db, () => {
    db.exec(`CREATE TABLE IF NOT EXISTS schema_migrations (
      version INTEGER PRIMARY KEY,
      name TEXT NOT NULL,
      checksum TEXT NOT NULL,
      applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    ) STRICT`);
    const applied = db
      .prepare("SELECT version, checksum FROM schema_migrations ORDER BY version")
      .all() as unknown as AppliedMigration[];
    const insert = db.prepare(
      "INSERT INTO schema_migrations (version, name, checksum) VALUES (?1, ?2, ?3)",
    );
    for (const migration of pendingMigrations(path, known, applied)) {
      try {
        db.exec(migration.sql);
      } catch (cause) {
        throw migrationFailed(path, migration, cause);
      }
      insert.run(migration.version, migration.name, migration.checksum);
    }
  });
}
