/** The settings store on SQLite. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { SettingsStore, StoredSettings } from "./settings-store.ts";

const read = "SELECT version, value FROM settings WHERE id = 1";

const replace = `
  UPDATE settings SET version = version + 1, value = ?2
  WHERE id = 1 AND version = ?1
  RETURNING version`;

/** The settings in a SQLite file. */
export class SqliteSettingsStore implements SettingsStore {
  readonly #read: StatementSync;
  readonly #replace: StatementSync;

  /** `db` was opened with the migrations of `migrations/sqlite`; who opened it closes it. */
  constructor({ db }: { readonly db: DatabaseSync }) {
    this.#read = db.prepare(read);
    this.#replace = db.prepare(replace);
  }

  async read(): Promise<StoredSettings> {
    return this.#read.get() as unknown as StoredSettings;
  }

  async replace(expectedVersion: number, value: string): Promise<number | undefined> {
    return this.#replace.get(expectedVersion, value)?.version as number | undefined;
  }
}
