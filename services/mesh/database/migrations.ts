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
}

/** A migration that a store says it has applied. */
export interface AppliedMigration {
  readonly version: number;
  readonly checksum: string;
}

/** Reads `0001_name.sql`, `0002_name.sql`, … of a folder. */
export function loadMigrations(folder: string): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(".sql"))
    .sort();
  return names.map((name, index) => {
    const version = Number.parseInt(name.slice(0, 4), 10);
    if (version !== index + 1) throw new Error(`${join(folder, name)} breaks the numbering`);
    const sql = readFileSync(join(folder, name), "utf8");
    return { version, name, sql, checksum: createHash("sha256").update(sql).digest("hex") };
  });
}

/**
 * The migrations still to apply. Throws STORE_TOO_NEW if the store has
 * versions that this program does not know, and INTERNAL if a migration was
 * edited after it had been applied.
 */
export function pendingMigrations(
  store: string,
  known: readonly Migration[],
  applied: readonly AppliedMigration[],
): Migration[] {
  const newest = Math.max(0, ...applied.map((a) => a.version));
  if (newest > known.length) {
    throw new DevmeshError(
      "STORE_TOO_NEW",
      `${store} has schema version ${newest}, this devmesh knows up to ${known.length}: start the newer devmesh, or restore a backup`,
      { metadata: { found: String(newest), supported: String(known.length) } },
    );
  }
  for (const { version, checksum } of applied) {
    const migration = known[version - 1];
    if (migration?.checksum !== checksum) {
      throw new DevmeshError("INTERNAL", `${store}: migration ${version} was edited after it ran`);
    }
  }
  return known.slice(newest);
}

/** A migration that the database refuses: a defect of devmesh, or of a schema that somebody changed. */
export function migrationFailed(store: string, { name }: Migration, cause: unknown): DevmeshError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new DevmeshError("INTERNAL", `${store}: migration ${name} failed: ${why}`);
}
