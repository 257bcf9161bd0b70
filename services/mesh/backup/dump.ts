/**
 * Reading a database for a backup: every table at one point in time, in parts
 * of bounded size. What a dialect needs is left to `dump.sqlite.ts` and
 * `dump.postgres.ts`.
 */
import { encodeRow, type Row, type Table } from "./table-rows.ts";

/** A database at one point in time. It is closed by who opened it. */
export interface Snapshot {
  readonly dialect: "sqlite" | "postgres";
  /** The version of its schema. */
  readonly schemaVersion: number;
  /** Tables that others refer to come first. Without `schema_migrations`. */
  readonly tables: readonly Table[];
  /** The rows in the order of their primary key, some at a time. */
  rows(table: Table): AsyncIterable<readonly Row[]>;
  /** The last number that the table's key was given; undefined if none is. */
  lastNumber(table: Table): Promise<bigint | undefined>;
  /** Ends the transaction. */
  close(): Promise<void>;
}

/** Some rows of one table. */
export interface TablePart {
  readonly dialect: string;
  readonly schemaVersion: number;
  readonly table: string;
  /** Lines of JSON. Empty for a table without rows. */
  readonly data: Uint8Array;
  readonly rows: number;
  /** See Snapshot. */
  readonly lastNumber: bigint | undefined;
}

/** A part is closed when it has this many bytes. */
const partBytes = 1 << 20;

/** Every table but those to skip: one part each at least, the parts of a table one after the other. */
export async function* dumpParts(
  snapshot: Snapshot,
  skip: readonly string[] = [],
): AsyncGenerator<TablePart, void, undefined> {
  const { dialect, schemaVersion } = snapshot;
  for (const table of snapshot.tables) {
    if (skip.includes(table.name)) continue;
    const lastNumber = await snapshot.lastNumber(table);
    const part = (lines: readonly string[]): TablePart => {
      const data = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      return { dialect, schemaVersion, table: table.name, data, rows: lines.length, lastNumber };
    };
    let lines: string[] = [];
    let size = 0;
    let isFirst = true;
    for await (const rows of snapshot.rows(table)) {
      for (const row of rows) {
        const line = encodeRow(table, row);
        lines.push(line);
        size += line.length;
        if (size < partBytes) continue;
        yield part(lines);
        lines = [];
        size = 0;
        isFirst = false;
      }
    }
    if (isFirst || lines.length > 0) yield part(lines);
  }
}

/** Orders tables so that those that others refer to come first, then by name. */
export function inOrder(
  tables: readonly Table[],
  references: readonly { readonly from: string; readonly to: string }[],
): Table[] {
  const waiting = [...tables].sort((a, b) => (a.name < b.name ? -1 : 1));
  const done: Table[] = [];
  while (waiting.length > 0) {
    const free = waiting.findIndex(({ name }) =>
      references.every(
        ({ from, to }) => from !== name || to === name || !waiting.some((t) => t.name === to),
      ),
    );
    // Tables that refer to each other in a circle come as they are.
    done.push(...waiting.splice(Math.max(free, 0), 1));
  }
  return done;
}
