/** Writes the rows of a backup into a Postgres schema. */
import type { PoolClient } from "pg";
import { postgresTables } from "./dump.postgres.ts";
import { columnsIn } from "./load.sqlite.ts";
import type { LoadTarget } from "./load.ts";
import type { Cell, ColumnKind, Row, Table } from "./table-rows.ts";

/** Rows of one statement. */
const maxRows = 500;

/** Writes in the transaction of a connection. */
export class PostgresLoad implements LoadTarget {
  readonly tables: readonly Table[];
  readonly #client: PoolClient;

  private constructor(client: PoolClient, tables: readonly Table[]) {
    this.#client = client;
    this.tables = tables;
  }

  /** Columns of `leaveOut` (`table.column`) are derived from others. */
  static async open(client: PoolClient, leaveOut: readonly string[] = []): Promise<PostgresLoad> {
    return new PostgresLoad(client, await postgresTables(client, leaveOut));
  }

  async clear({ name }: Table): Promise<void> {
    await this.#client.query(`DELETE FROM "${name}"`);
  }

  async load(table: Table, rows: readonly Row[]): Promise<void> {
    const names = columnsIn(table, rows);
    if (names.length === 0) return;
    const columns = table.columns.filter(({ name }) => names.includes(name));
    const listed = columns.map(({ name }) => `"${name}"`).join(", ");
    const arrays = columns.map(({ kind }, i) => `$${i + 1}::${typeOf[kind]}[]`).join(", ");
    const insert = `INSERT INTO "${table.name}" (${listed}) OVERRIDING SYSTEM VALUE
      SELECT * FROM unnest(${arrays})`;
    for (let at = 0; at < rows.length; at += maxRows) {
      const some = rows.slice(at, at + maxRows);
      const values = columns.map(({ name }) => some.map((row) => toParameter(row[name] ?? null)));
      await this.#client.query(insert, values);
    }
  }

  async setLastNumber({ name }: Table, last: bigint): Promise<void> {
    await this.#client.query(
      `SELECT setval(pg_get_serial_sequence(format('%I', $1::text), attname), $2)
       FROM pg_attribute WHERE attrelid = format('%I', $1::text)::regclass AND attidentity <> ''`,
      [name, String(last)],
    );
  }
}

const typeOf: Record<ColumnKind, string> = {
  text: "text",
  integer: "bigint",
  real: "double precision",
  boolean: "boolean",
  time: "timestamptz",
  bytes: "bytea",
};

function toParameter(cell: Cell): unknown {
  if (typeof cell === "bigint") return String(cell);
  return cell instanceof Uint8Array ? Buffer.from(cell) : cell;
}
