/**
 * Forward-only migrations: numbered SQL files with checksums. What a dialect
 * needs to apply them is left to `sqlite.ts` and `postgres.ts`.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DevmeshError } from "../errors/index.ts";

/** One numbered step from one version of a schema to the next. */
export interface Migration {
  /** 1, 2, 3, … without a gap. */
  readonly version: number;
  /** The file's name, for messages. */
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the SQL, in hex. */
  readonly checksum: string;
  /**
   * The oldest version whose program may still read and write the store after
   * this migration: `-- reader: 2` as the first line. Default: its own version.
   */
  readonly reader: number;
}

/** A migration that a store says it has applied. */
export interface AppliedMigration {
  readonly version: number;
  readonly checksum: string;
  /** See Migration. Null: it was applied by a program that did not know of readers. */
  readonly reader: number | null;
}

/** Reads `0001_name.sql`, `0002_name.sql`, … of a folder. Throws for a gap and a broken reader. */
export function loadMigrations(folder: string): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(".sql"))
    .sort();
  return names.map((name, index) => {
    const version = Number.parseInt(name.slice(0, 4), 10);
    if (version !== index + 1) throw new Error(`${join(folder, name)} breaks the numbering`);
    const sql = readFileSync(join(folder, name), "utf8");
    const checksum = createHash("sha256").update(sql).digest("hex");
    return { version, name, sql, checksum, reader: readerOf(join(folder, name), version, sql) };
  });
}

function readerOf(path: string, version: number, sql: string): number {
  const [first = ""] = sql.split("\n", 1);
  if (!/^--\s*reader\b/.test(first)) return version;
  const reader = Number(/^-- reader: (\d{1,4})$/.exec(first)?.[1]);
  if (reader >= 1 && reader <= version) return reader;
  throw new Error(`${path}: wants "-- reader: N" with a version up to its own`);
}

/**
 * The migrations still to apply; none where the store is newer and its
 * migrations let this program read it. Throws STORE_TOO_NEW if they do not,
 * and INTERNAL if a migration was edited after it ran, or one is missing.
 */
export function pendingMigrations(
  store: string,
  known: readonly Migration[],
  applied: readonly AppliedMigration[],
): Migration[] {
  const inOrder = [...applied].sort((a, b) => a.version - b.version);
  const newest = inOrder.at(-1)?.version ?? 0;
  inOrder.forEach(({ version, checksum, reader }, index) => {
    if (version !== index + 1) {
      // A gap behind what this program knows is of a numbering that it does not know.
      if (index >= known.length) throw tooNew(store, newest, known.length);
      throw new DevmeshError("INTERNAL", `${store}: migration ${index + 1} was never applied`);
    }
    const migration = known[index];
    if (migration === undefined) {
      if ((reader ?? version) > known.length) throw tooNew(store, newest, known.length);
    } else if (migration.checksum !== checksum) {
      throw new DevmeshError("INTERNAL", `${store}: migration ${version} was edited after it ran`);
    }
  });
  return known.slice(applied.length);
}

/** The refusal of a store, or a backup, of a version that this program does not know. */
export function tooNew(store: string, found: number, supported: number): DevmeshError {
  return new DevmeshError(
    "STORE_TOO_NEW",
    `${store} has schema version ${found}, this devmesh knows up to ${supported}: start the newer devmesh, or restore a backup`,
    { metadata: { found: String(found), supported: String(supported) } },
  );
}

/** A migration that the database refuses: a defect of devmesh, or of a schema that somebody changed. */
export function migrationFailed(store: string, { name }: Migration, cause: unknown): DevmeshError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new DevmeshError("INTERNAL", `${store}: migration ${name} failed: ${why}`);
}
