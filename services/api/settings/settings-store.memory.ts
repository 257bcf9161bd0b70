/** The settings store in memory: gone with the process. */
import type { SettingsStore, StoredSettings } from "./settings-store.ts";

/** The settings of this process. */
export class MemorySettingsStore implements SettingsStore {
  #stored: StoredSettings = { version: 0, value: "{}" };

  async read(): Promise<StoredSettings> {
    return this.#stored;
  }

  async replace(expectedVersion: number, value: string): Promise<number | undefined> {
    if (this.#stored.version !== expectedVersion) return undefined;
    this.#stored = { version: expectedVersion + 1, value };
    return this.#stored.version;
  }
}
