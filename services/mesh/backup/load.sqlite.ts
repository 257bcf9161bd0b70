/** Writes the rows of a backup into a SQLite file. */
import type { DatabaseSync } from "node:sqlite";
import { setImmediate as nextTurn } from "node:timers/promises";
import { sqliteTables } from "./dump.sqlite.ts";
import type { LoadTarget } from "./load.ts";
import type { Row, Table } from "./table-rows.ts";

/** Writes into a file whose transaction is open. */
export class SqliteLoad implements LoadTarget {
  readonly tables: readonly Table[];
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.tables = sqliteTables(db);
  }

  async clear({ name }: Table): Promise<void> {
    this.#db.exec(`DELETE FROM "${name}"`);
  }

  async load(table: Table, rows: readonly Row[]): Promise<void> {
    const columns = columnsIn(table, rows);
    if (columns.length === 0) return;
    const places = columns.map((_, i) => `?${i + 1}`).join(", ");
    const names = columns.map((name) => `"${name}"`).join(", ");
    const insert = this.#db.prepare(`INSERT INTO "${table.name}" (${names}) VALUES (${places})`);
    for (const row of rows) insert.run(...columns.map((name) => row[name] ?? null));
    await nextTurn();
  }

  async setLastNumber({ name }: Table, last: bigint): Promise<void> {
    this.#db.prepare("DELETE FROM sqlite_sequence WHERE name = ?1").run(name);
    this.#db.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)").run(name, last);
  }
}

/** The columns that the rows name: all rows of a part name the same. */
export function columnsIn(table: Table, rows: readonly Row[]): string[] {
  const [first = {}] = rows;
  return table.columns.map(({ name }) => name).filter((name) => Object.hasOwn(first, name));
}
