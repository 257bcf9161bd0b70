/** Writing the rows of a backup into tables that a migration has made. */
import type { Row, Table } from "./table-rows.ts";

/** A database in a transaction that its opener commits or rolls back. */
export interface LoadTarget {
  readonly tables: readonly Table[];
  /** Removes the rows that migrations have put there. */
  clear(table: Table): Promise<void>;
  /** Adds rows. A column that a row does not name takes its default. */
  load(table: Table, rows: readonly Row[]): Promise<void>;
  /** Lets the numbers of the table's key go on after this one. */
  setLastNumber(table: Table, last: bigint): Promise<void>;
}
