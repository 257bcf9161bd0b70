/** A snapshot of a Postgres schema: a read-only transaction on a connection of its own, read by cursors. */
import type { Pool, PoolClient } from "pg";
import { inOrder, type Snapshot } from "./dump.ts";
import type { Cell, Column, ColumnKind, Row, Table } from "./table-rows.ts";

/** Rows of one fetch. */
const fetchRows = 100;

interface KeyedTable extends Table {
  /** Columns in the order of the primary key. */
  readonly key: readonly string[];
}

/** Opens a snapshot of the pool's schema. Columns of `leaveOut` (`table.column`) are derived from others. */
export async function openPostgresSnapshot(
  pool: Pool,
  leaveOut: readonly string[] = [],
): Promise<Snapshot> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const { rows } = await client.query("SELECT max(version) AS version FROM schema_migrations");
    const tables = await postgresTables(client, leaveOut);
    return new PostgresSnapshot(client, Number(rows[0]?.version ?? 0), tables);
  } catch (error) {
    client.release(true);
    throw error;
  }
}

class PostgresSnapshot implements Snapshot {
  readonly dialect = "postgres";
  readonly schemaVersion: number;
  readonly tables: readonly KeyedTable[];
  readonly #client: PoolClient;

  constructor(client: PoolClient, schemaVersion: number, tables: readonly KeyedTable[]) {
    this.#client = client;
    this.schemaVersion = schemaVersion;
    this.tables = tables;
  }

  async *rows(table: Table): AsyncGenerator<readonly Row[], void, undefined> {
    const key = this.tables.find(({ name }) => name === table.name)?.key ?? [];
    const columns = table.columns.map(selected).join(", ");
    const order = key.map((name) => ordered(table, name)).join(", ");
    await this.#client.query(
      `DECLARE dump_rows NO SCROLL CURSOR FOR
       SELECT ${columns} FROM "${table.name}"${order === "" ? "" : ` ORDER BY ${order}`}`,
    );
    for (;;) {
      const { rows } = await this.#client.query<Record<string, unknown>>(
        `FETCH FORWARD ${fetchRows} FROM dump_rows`,
      );
      if (rows.length === 0) break;
      yield rows.map((row) => toRow(table, row));
    }
    await this.#client.query("CLOSE dump_rows");
  }

  async lastNumber({ name }: Table): Promise<bigint | undefined> {
    const { rows } = await this.#client.query<{ sequence: string }>(
      `SELECT pg_get_serial_sequence(format('%I', $1::text), attname) AS sequence
       FROM pg_attribute WHERE attrelid = format('%I', $1::text)::regclass AND attidentity <> ''`,
      [name],
    );
    const sequence = rows[0]?.sequence;
    if (sequence === undefined) return undefined;
    const last = await this.#client.query<{ value: string | null }>(
      `SELECT CASE WHEN is_called THEN last_value::text END AS value FROM ${sequence}`,
    );
    const value = last.rows[0]?.value;
    return value === null || value === undefined ? undefined : BigInt(value);
  }

  async close(): Promise<void> {
    let broken = false;
    await this.#client.query("ROLLBACK").catch(() => {
      // The connection is gone, and with it the transaction.
      broken = true;
    });
    this.#client.release(broken);
  }
}

/** The tables of the connection's schema. Throws for a column of a type that no backup knows. */
export async function postgresTables(
  client: PoolClient,
  leaveOut: readonly string[] = [],
): Promise<KeyedTable[]> {
  const { rows } = await client.query<{ table: string; name: string; type: string; key: number }>(
    `SELECT c.relname AS table, a.attname AS name, format_type(a.atttypid, NULL) AS type,
       coalesce(array_position(i.indkey::int2[], a.attnum), -1) AS key
     FROM pg_class c
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
       AND c.relname <> 'schema_migrations'`,
  );
  const kept = rows.filter(({ table, name }) => !leaveOut.includes(`${table}.${name}`));
  const names = [...new Set(kept.map(({ table }) => table))];
  const tables = names.map((name) => {
    const own = kept
      .filter(({ table }) => table === name)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const columns: Column[] = own.map((c) => ({ name: c.name, kind: kindOf(c.type, name) }));
    const key = own
      .filter((column) => column.key >= 0)
      .sort((a, b) => a.key - b.key)
      .map((column) => column.name);
    return { name, columns, key };
  });
  const references = await client.query<{ from: string; to: string }>(
    `SELECT f.relname AS from, t.relname AS to FROM pg_constraint
     JOIN pg_class f ON f.oid = conrelid JOIN pg_class t ON t.oid = confrelid
     WHERE contype = 'f' AND connamespace = current_schema()::regnamespace`,
  );
  const keyOf = new Map(tables.map(({ name, key }) => [name, key]));
  return inOrder(tables, references.rows).map((table) => ({
    ...table,
    key: keyOf.get(table.name) ?? [],
  }));
}

function kindOf(type: string, table: string): ColumnKind {
  const kinds: Record<string, ColumnKind> = {
    text: "text",
    "character varying": "text",
    smallint: "integer",
    integer: "integer",
    bigint: "integer",
    "double precision": "real",
    boolean: "boolean",
    "timestamp with time zone": "time",
    bytea: "bytes",
  };
  const kind = kinds[type];
  if (kind === undefined) throw new Error(`${table}: no backup knows the type ${type}`);
  return kind;
}

function selected({ name, kind }: Column): string {
  const column = `"${name}"`;
  if (kind === "integer") return `${column}::text AS ${column}`;
  if (kind !== "time") return column;
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ${column}`;
}

/** Text by its bytes, as SQLite has it: backups of both have the same order. */
function ordered(table: Table, name: string): string {
  const kind = table.columns.find((column) => column.name === name)?.kind;
  return `"${table.name}"."${name}"${kind === "text" ? ' COLLATE "C"' : ""}`;
}

function toRow(table: Table, row: Record<string, unknown>): Row {
  return Object.fromEntries(table.columns.map(({ name, kind }) => [name, toCell(kind, row[name])]));
}

function toCell(kind: ColumnKind, value: unknown): Cell {
  if (value === null || value === undefined) return null;
  switch (kind) {
    case "integer":
      return BigInt(String(value));
    case "boolean":
      return value === true ? 1n : 0n;
    case "time":
      // Milliseconds where they say it all, as SQLite has them.
      return String(value).replace(/000Z$/, "Z");
    default:
      return value as Cell;
  }
}
