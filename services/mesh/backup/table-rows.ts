/**
 * Rows of a table as lines of text that are the same in every dialect: JSON
 * with the columns in the order of their names. Reading and writing databases
 * is left to `dump.*.ts` and `load.*.ts`.
 */
import { backupInvalid } from "./backup-invalid.ts";

/** What a column holds. */
export type ColumnKind = "text" | "integer" | "real" | "boolean" | "time" | "bytes";

/** A column of a table. */
export interface Column {
  readonly name: string;
  readonly kind: ColumnKind;
}

/** A table as a backup sees it. */
export interface Table {
  readonly name: string;
  /** In the order of their names. */
  readonly columns: readonly Column[];
}

/** A value: text and times, reals, integers and flags (0, 1), bytes. */
export type Cell = null | string | number | bigint | Uint8Array;

/** The values of a row by column. */
export type Row = Readonly<Record<string, Cell>>;

/** A row as one line, without its line end. */
export function encodeRow(table: Table, row: Row): string {
  const fields = table.columns.map(
    ({ name }) => `${JSON.stringify(name)}:${encodeCell(row[name] ?? null)}`,
  );
  return `{${fields.join(",")}}`;
}

/** The row of a line, as the table's columns take it. Throws INVALID_FIELD for one that does not fit. */
export function decodeRow(table: Table, line: string): Row {
  const fields = parseObject(table, line);
  const row: Record<string, Cell> = {};
  for (const [name, value] of Object.entries(fields)) {
    const column = table.columns.find((one) => one.name === name);
    if (column === undefined) {
      throw backupInvalid(`table ${table.name} has no column ${JSON.stringify(name)}`);
    }
    const cell = decodeCell(column.kind, value);
    if (cell === undefined) {
      throw backupInvalid(`${table.name}.${name}: a value does not fit the column`);
    }
    row[name] = cell;
  }
  return row;
}

function encodeCell(cell: Cell): string {
  switch (typeof cell) {
    case "string":
      return JSON.stringify(cell);
    case "bigint":
      return BigInt.asIntN(53, cell) === cell ? String(cell) : `{"int":"${cell}"}`;
    case "number":
      return Number.isFinite(cell) && !Object.is(cell, -0)
        ? JSON.stringify(cell)
        : `{"real":"${Object.is(cell, -0) ? "-0" : cell}"}`;
    default:
      if (cell === null) return "null";
      return `{"bytes":"${Buffer.from(cell.buffer, cell.byteOffset, cell.byteLength).toString("base64")}"}`;
  }
}

/** Undefined for what the kind does not take. */
function decodeCell(kind: ColumnKind, value: unknown): Cell | undefined {
  if (value === null) return null;
  switch (kind) {
    case "text":
      return typeof value === "string" ? value : undefined;
    case "time":
      return typeof value === "string" && isTime(value) ? value : undefined;
    case "boolean":
      return value === 0 || value === 1 ? BigInt(value) : undefined;
    case "integer":
      return toInteger(value);
    case "real":
      return toReal(value);
    case "bytes":
      return toBytes(value);
    default:
      return kind satisfies never;
  }
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{6})Z$/.test(text);
}

function toInteger(value: unknown): bigint | undefined {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  const text = tagged(value, "int");
  if (text === undefined || !/^-?\d{1,19}$/.test(text)) return undefined;
  return BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? BigInt(text) : undefined;
}

function toReal(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  const text = tagged(value, "real");
  return text !== undefined && /^(NaN|-?Infinity|-0)$/.test(text) ? Number(text) : undefined;
}

function toBytes(value: unknown): Uint8Array | undefined {
  const text = tagged(value, "bytes");
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

function tagged(value: unknown, tag: string): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(value);
  const [first] = entries;
  return entries.length === 1 && first?.[0] === tag && typeof first[1] === "string"
    ? first[1]
    : undefined;
}

function parseObject(table: Table, line: string): object {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw backupInvalid(`table ${table.name} has a line that is no JSON`, cause);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw backupInvalid(`table ${table.name} has a line that is no row`);
}
