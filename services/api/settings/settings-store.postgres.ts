/** The settings store on Postgres: every replica reads the one row. */
import type { Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
import type { SettingsStore, StoredSettings } from "./settings-store.ts";

const queries = new PostgresQueries("settings", {
  read: "SELECT version, value FROM settings WHERE id = 1",
  replace: `
    UPDATE settings SET version = version + 1, value = $2
    WHERE id = 1 AND version = $1
    RETURNING version`,
});

/** What a `bigint` comes as. */
interface Row {
  readonly version: string;
  readonly value: string;
}

/** The settings in a Postgres schema. */
export class PostgresSettingsStore implements SettingsStore {
  readonly #pool: Pool;

  /** `pool` was opened with the migrations of `migrations/postgres`; who opened it closes it. */
  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  async read(): Promise<StoredSettings> {
    const row = await queries.row<Row>(this.#pool, "read");
    return { version: Number(row?.version ?? 0), value: row?.value ?? "{}" };
  }

  async replace(expectedVersion: number, value: string): Promise<number | undefined> {
    const row = await queries.row<Row>(this.#pool, "replace", [expectedVersion, value]);
    return row === undefined ? undefined : Number(row.version);
  }
}
