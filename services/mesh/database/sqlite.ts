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
import { keepSqliteCopy } from "./sqlite-copy.ts";

/** Which file, and the schema it shall have. */
export interface SqliteOptions {
  /** A path, or `:memory:`. Its folder is made if it is missing. */
  readonly path: string;
  readonly migrations: readonly Migration[];
  /**
   * Keep a copy of a store with data before it is migrated, as
   * `<name>.before-<version>.sqlite` beside it, the last three of them.
   * Default: true.
   */
  readonly keepCopy?: boolean;
}

/**
 * Opens the file with a write-ahead log and foreign keys, and brings its
 * schema up to date in one transaction. Throws STORE_TOO_NEW, or UNAVAILABLE
 * if the file is no database or cannot be written.
 */
export function openSqlite({ path, migrations, keepCopy = true }: SqliteOptions): DatabaseSync {
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
    if (keepCopy && path !== ":memory:") copyBeforeMigration(db, path, migrations);
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
      applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
      reader INTEGER
    ) STRICT`);
    // Stores of the first versions have no readers.
    if (!hasReader(db)) db.exec("ALTER TABLE schema_migrations ADD COLUMN reader INTEGER");
    const insert = db.prepare(
      "INSERT INTO schema_migrations (version, name, checksum, reader) VALUES (?1, ?2, ?3, ?4)",
    );
    for (const migration of pendingMigrations(path, known, appliedTo(db))) {
      try {
        db.exec(migration.sql);
      } catch (cause) {
        throw migrationFailed(path, migration, cause);
      }
      insert.run(migration.version, migration.name, migration.checksum, migration.reader);
    }
  });
}

function copyBeforeMigration(db: DatabaseSync, path: string, known: readonly Migration[]): void {
  const applied = appliedTo(db);
  const [next] = pendingMigrations(path, known, applied);
  if (next === undefined || applied.length === 0) return;
  try {
    keepSqliteCopy(db, path, { from: applied.length, to: next.version });
  } catch (cause) {
    const text = `${path} is not migrated: a copy of it could not be kept before`;
    throw new DevmeshError("UNAVAILABLE", text, { cause });
  }
}

function appliedTo(db: DatabaseSync): AppliedMigration[] {
  const reader = hasReader(db);
  if (reader === undefined) return [];
  return db
    .prepare(
      `SELECT version, checksum, ${reader ? "reader" : "NULL AS reader"} FROM schema_migrations
       ORDER BY version`,
    )
    .all() as unknown as AppliedMigration[];
}

/** Undefined if the table is not there. */
function hasReader(db: DatabaseSync): boolean | undefined {
  const columns = db.prepare("SELECT name FROM pragma_table_info('schema_migrations')").all();
  return columns.length === 0 ? undefined : columns.some(({ name }) => name === "reader");
}
