/**
 * The settings that change while the backend runs. Owns what holds now, and
 * that every replica follows; how settings are merged is left to
 * `settings-rules.ts`.
 */
import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { type Settings, SettingsSchema } from "@devmesh/gen/devmesh/api/v1/settings_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import { changed, effective, type KnownNames, type SettingsChange } from "./settings-rules.ts";
import type { SettingsStore, StoredSettings } from "./settings-store.ts";

/** How often a replica looks for a change of another one. */
export const pollMs = 1_000;

/** How often a change is tried again that somebody else's overtook. */
const maxTries = 20;

/** What settings need. */
export interface HotSettingsOptions {
  readonly store: SettingsStore;
  /** The environment's values: every field is there. */
  readonly defaults: Settings;
  readonly known: KnownNames;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The settings of this process. */
export class HotSettings {
  readonly #options: HotSettingsOptions;
  readonly #listeners: ((settings: Settings) => void)[] = [];
  readonly #closing = new AbortController();
  #polling: Promise<void> | undefined;
  #version = -1;
  #current: Settings;

  private constructor(options: HotSettingsOptions) {
    this.#options = options;
    this.#current = options.defaults;
  }

  /** Reads them once. Throws UNAVAILABLE if the store is lost. */
  static async open(options: HotSettingsOptions): Promise<HotSettings> {
    const settings = new HotSettings(options);
    settings.#adopt(await options.store.read());
    return settings;
  }

  /** What holds now: every field is there. Nobody changes it in place. */
  get current(): Settings {
    return this.#current;
  }

  /** The version of what holds now. */
  get version(): number {
    return this.#version;
  }

  /** True unless the module is switched off. */
  feature(name: string): boolean {
    return this.#current.features[name] ?? true;
  }

  /** How many jobs may wait in the queue. */
  maxQueued(): number {
    return this.#current.maxQueuedJobs ?? Number.POSITIVE_INFINITY;
  }

  /** How long the events of ended jobs are kept, in days. 0: for ever. */
  logRetentionDays(): number {
    return this.#current.logRetentionDays ?? 0;
  }

  /** Calls the listener now and after every change. */
  onChange(listener: (settings: Settings) => void): void {
    this.#listeners.push(listener);
    listener(this.#current);
  }

  /**
   * Changes settings; here it holds at once. `expectedVersion` 0: whatever the
   * version is. Throws INVALID_FIELD, WRONG_STATE, UNAVAILABLE.
   */
  async update(change: SettingsChange, expectedVersion: number): Promise<void> {
    const { store, known } = this.#options;
    for (let tried = 0; tried < maxTries; tried++) {
      const stored = await store.read();
      if (expectedVersion !== 0 && stored.version !== expectedVersion) {
        throw wrongVersion(expectedVersion, stored.version);
      }
      const value = toJsonString(SettingsSchema, changed(readSet(stored), change, known));
      const version = await store.replace(stored.version, value);
      if (version === undefined) continue;
      // Somebody else's later change may have been seen meanwhile.
      if (version > this.#version) this.#adopt({ version, value });
      return;
    }
    throw new DevmeshError("UNAVAILABLE", "the settings change all the time: try again", {
      retryAfterMs: pollMs,
    });
  }

  /** Follows changes of other replicas until `close`. */
  start(): void {
    this.#polling ??= this.#poll();
  }

  /** Stops following. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#polling;
  }

  async #poll(): Promise<void> {
    const { store, clock, logger } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await clock.sleep(pollMs, signal);
        const before = this.#version;
        const stored = await store.read();
        // What was read before a change of this process is not news.
        if (this.#version === before && stored.version !== before) this.#adopt(stored);
      } catch (err) {
        // The last known settings hold on while the store is lost.
        if (!signal.aborted) logger.debug({ err }, "settings not read");
      }
    }
  }

  #adopt(stored: StoredSettings): void {
    this.#current = effective(this.#options.defaults, readSet(stored));
    this.#version = stored.version;
    for (const listener of this.#listeners) listener(this.#current);
    if (stored.version > 0) {
      this.#options.logger.info({ version: stored.version }, "settings hold");
    }
  }
}

/** Fields of a newer devmesh are left alone. */
function readSet({ value }: StoredSettings): Settings {
  return fromJsonString(SettingsSchema, value, { ignoreUnknownFields: true });
}

function wrongVersion(expected: number, found: number): DevmeshError {
  return new DevmeshError(
    "WRONG_STATE",
    `the settings have version ${found}, not ${expected}: read them again and repeat the change`,
    { metadata: { state: String(found) } },
  );
}
