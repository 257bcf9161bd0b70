/**
 * Restoring one section of a backup into an empty database. What a dialect
 * needs is left to `restore.sqlite.ts` and `restore.postgres.ts`.
 */

import { type Migration, tooNew } from "../database/index.ts";
import { DevmeshError } from "../errors/index.ts";
import { readArchive } from "./archive-reader.ts";
import { backupInvalid } from "./backup-invalid.ts";
import type { LoadTarget } from "./load.ts";
import type { Manifest, SectionSummary } from "./manifest.ts";
import { decodeRow, type Table } from "./table-rows.ts";

/** Which part of which backup. */
export interface RestoreSource {
  /** The archive. */
  readonly path: string;
  /** What `verifyArchive` said of it. */
  readonly manifest: Manifest;
  readonly section: string;
}

/** A restore that is complete but for its last step. */
export interface PreparedRestore {
  /** Makes it visible. */
  commit(): Promise<void>;
  /** Leaves nothing of it. */
  abandon(): Promise<void>;
}

/** The section, and the migrations up to its version. Throws STORE_TOO_NEW, INVALID_FIELD. */
export function sectionOf(
  { manifest, section }: RestoreSource,
  migrations: readonly Migration[],
): { readonly summary: SectionSummary; readonly upTo: readonly Migration[] } {
  const summary = manifest.sections.find(({ name }) => name === section);
  if (summary === undefined) throw backupInvalid(`it has no section ${section}`);
  const { schemaVersion } = summary;
  if (schemaVersion > migrations.length) {
    throw tooNew(`section ${section} of the backup`, schemaVersion, migrations.length);
  }
  return { summary, upTo: migrations.slice(0, schemaVersion) };
}

/** Loads the section's rows in place of what its migrations have put there. */
export async function loadSection(
  { path, section }: RestoreSource,
  summary: SectionSummary,
  target: LoadTarget,
): Promise<void> {
  const tables = summary.tables.map(({ name }) => tableOf(target, name));
  for (const table of [...tables].reverse()) await target.clear(table);
  for await (const entry of readArchive(path)) {
    if (entry.kind !== "part" || entry.section !== section) continue;
    const table = tableOf(target, entry.table);
    const lines = entry.data.toString("utf8").split("\n").slice(0, -1);
    const rows = lines.map((line) => decodeRow(table, line));
    try {
      await target.load(table, rows);
    } catch (cause) {
      throw backupInvalid(`rows of ${section}/${table.name} do not fit its schema`, cause);
    }
  }
  for (const { name, lastNumber } of summary.tables) {
    if (lastNumber === undefined) continue;
    await target.setLastNumber(tableOf(target, name), BigInt(lastNumber));
  }
}

/** The refusal of a place that is not empty. `found` says what is there. */
export function notEmpty(place: string, found: string): DevmeshError {
  return new DevmeshError(
    "ALREADY_EXISTS",
    `${place} is not empty: it has ${found}. A restore wants an empty place: name another, or move that away`,
  );
}

function tableOf(target: LoadTarget, name: string): Table {
  const table = target.tables.find((one) => one.name === name);
  if (table !== undefined) return table;
  throw backupInvalid(`its schema has no table ${name}`);
}
