/** A snapshot of a SQLite file: a read transaction on a connection of its own, which no writer waits for. */
import { DatabaseSync } from "node:sqlite";
import { setImmediate as nextTurn } from "node:timers/promises";
import { DevmeshError } from "../errors/index.ts";
import { inOrder, type Snapshot } from "./dump.ts";
import type { Cell, Column, ColumnKind, Row, Table } from "./table-rows.ts";

/** Rows are read until there are this many, or as many bytes; then other work has its turn. */
const maxRows = 200;
const maxBytes = 256 * 1024;

/** Opens a snapshot. Throws UNAVAILABLE if the file cannot be read. */
export function openSqliteSnapshot(path: string): Snapshot {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true, timeout: 10_000 });
    return new SqliteSnapshot(db);
  } catch (cause) {
    db?.close();
    throw new DevmeshError("UNAVAILABLE", `cannot read the SQLite file ${path}`, { cause });
  }
}

class SqliteSnapshot implements Snapshot {
  readonly dialect = "sqlite";
  readonly schemaVersion: number;
  readonly tables: readonly Table[];
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
    db.exec("BEGIN");
    // The first read fixes the point in time.
    const newest = db.prepare("SELECT max(version) AS version FROM schema_migrations").get();
    this.schemaVersion = Number(newest?.version ?? 0);
    this.tables = sqliteTables(db);
  }

  async *rows(table: Table): AsyncGenerator<readonly Row[], void, undefined> {
    const columns = table.columns.map(({ name }) => `"${name}"`).join(", ");
    const order = primaryKey(this.#db, table.name);
    const statement = this.#db.prepare(
      `SELECT ${columns} FROM "${table.name}" ORDER BY ${order.map((name) => `"${name}"`).join(", ")}`,
    );
    statement.setReadBigInts(true);
    let rows: Row[] = [];
    let bytes = 0;
    for (const row of statement.iterate() as Iterable<Row>) {
      rows.push(toRow(table, row));
      bytes += sizeOf(row);
      if (rows.length < maxRows && bytes < maxBytes) continue;
      yield rows;
      rows = [];
      bytes = 0;
      await nextTurn();
    }
    if (rows.length > 0) yield rows;
  }

  async lastNumber({ name }: Table): Promise<bigint | undefined> {
    const counts = this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'");
    if (counts.get() === undefined) return undefined;
    const statement = this.#db.prepare("SELECT seq FROM sqlite_sequence WHERE name = ?1");
    statement.setReadBigInts(true);
    return statement.get(name)?.seq as bigint | undefined;
  }

  async close(): Promise<void> {
    this.#db.close();
  }
}

/** The tables of a file, virtual ones and what they are made of aside. */
export function sqliteTables(db: DatabaseSync): Table[] {
  const names = db
    .prepare(
      `SELECT name FROM pragma_table_list
       WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'
         AND name <> 'schema_migrations'`,
    )
    .all()
    .map(({ name }) => String(name));
  const tables = names.map((name) => ({ name, columns: columnsOf(db, name) }));
  const references = names.flatMap((from) =>
    db
      .prepare('SELECT "table" AS name FROM pragma_foreign_key_list(?1)')
      .all(from)
      .map(({ name }) => ({ from, to: String(name) })),
  );
  return inOrder(tables, references);
}

function columnsOf(db: DatabaseSync, table: string): Column[] {
  const rows = db.prepare("SELECT name, type FROM pragma_table_info(?1) ORDER BY name").all(table);
  return rows.map(({ name, type }) => ({ name: String(name), kind: kindOf(String(type)) }));
}

function kindOf(type: string): ColumnKind {
  const kinds: Record<string, ColumnKind> = {
    TEXT: "text",
    INTEGER: "integer",
    INT: "integer",
    REAL: "real",
    BLOB: "bytes",
    // Text and bytes, row by row: in a backup they are bytes, as in Postgres.
    ANY: "bytes",
  };
  const kind = kinds[type.toUpperCase()];
  if (kind === undefined) throw new Error(`no backup knows the type ${JSON.stringify(type)}`);
  return kind;
}

function toRow(table: Table, row: Row): Row {
  const open = table.columns.filter(
    ({ name, kind }) => kind === "bytes" && typeof row[name] === "string",
  );
  if (open.length === 0) return row;
  const bytes = open.map(({ name }) => [name, Buffer.from(String(row[name]))]);
  return { ...row, ...Object.fromEntries(bytes) };
}

function primaryKey(db: DatabaseSync, table: string): string[] {
  const rows = db
    .prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")
    .all(table);
  return rows.length === 0 ? ["rowid"] : rows.map(({ name }) => String(name));
}

function sizeOf(row: Row): number {
  return Object.values(row).reduce<number>((sum, cell) => sum + cellSize(cell), 0);
}

function cellSize(cell: Cell): number {
  return typeof cell === "object" || typeof cell === "string" ? (cell?.length ?? 0) : 8;
}
