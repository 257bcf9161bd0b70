/**
 * What a backup says of itself. It is the last entry of the archive, so that
 * it can be written without a second look at anything.
 */
import { backupInvalid } from "./backup-invalid.ts";

/** The format that this devmesh writes and reads. */
export const backupFormat = 1;

/** One table of a section. */
export interface TableSummary {
  readonly name: string;
  readonly rows: number;
  readonly parts: number;
  /** Of its parts, one after the other. */
  readonly sha256: string;
  /** The last number that its key was given, in digits. */
  readonly lastNumber?: string;
}

/** The database of one service. */
export interface SectionSummary {
  readonly name: string;
  /** Where it came from; a backup restores into any. */
  readonly dialect: string;
  readonly schemaVersion: number;
  readonly tables: readonly TableSummary[];
}

/** `manifest.json`. */
export interface Manifest {
  readonly format: number;
  /** The devmesh that wrote it. */
  readonly devmesh: string;
  /** RFC 3339. */
  readonly createTime: string;
  readonly sections: readonly SectionSummary[];
  readonly blobs: {
    readonly count: number;
    readonly bytes: number;
    /** Of their names, each with a line end, in the archive's order. */
    readonly sha256: string;
  };
  /** What is not in it, in words. */
  readonly notCovered: readonly string[];
}

/** Reads a manifest. Throws INVALID_FIELD for what is none, or of a later format. */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw backupInvalid("its manifest is no JSON", cause);
  }
  const format = isObject(value) ? value.format : undefined;
  if (typeof format === "number" && format > backupFormat) {
    throw backupInvalid(`it has format ${format}, this devmesh knows up to ${backupFormat}`);
  }
  if (isManifest(value)) return value;
  throw backupInvalid("its manifest is not whole");
}

function isManifest(value: unknown): value is Manifest {
  return (
    isObject(value) &&
    value.format === backupFormat &&
    isText(value.devmesh) &&
    isText(value.createTime) &&
    isListOf(value.sections, isSection) &&
    isObject(value.blobs) &&
    isCount(value.blobs.count) &&
    isCount(value.blobs.bytes) &&
    isText(value.blobs.sha256) &&
    isListOf(value.notCovered, isText)
  );
}

function isSection(value: unknown): boolean {
  return (
    isObject(value) &&
    isText(value.name) &&
    isText(value.dialect) &&
    isCount(value.schemaVersion) &&
    isListOf(value.tables, isTable)
  );
}

function isTable(value: unknown): boolean {
  return (
    isObject(value) &&
    isText(value.name) &&
    isCount(value.rows) &&
    isCount(value.parts) &&
    isText(value.sha256) &&
    (value.lastNumber === undefined || /^\d{1,18}$/.test(String(value.lastNumber)))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isListOf(value: unknown, isOne: (one: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}
