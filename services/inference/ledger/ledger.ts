/**
 * Writes calls down behind the requests' backs: entries are collected and
 * appended in batches. A store that fails is tried again; what it missed
 * meanwhile is kept up to a bound.
 */
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { LedgerEntry, LedgerStore } from "./ledger-store.ts";

/** What a ledger is made from. */
export interface LedgerOptions {
  readonly store: LedgerStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long an entry waits for others, in milliseconds. Default: 250. */
  readonly flushMs?: number;
  /** Entries of one append at most. Default: 500. */
  readonly batch?: number;
  /** Entries kept while the store fails; beyond it the oldest are lost, and the log says so. Default: 50,000. */
  readonly maxPending?: number;
}

/** The one way into the ledger store. */
export class Ledger {
  readonly #options: Required<LedgerOptions>;
  readonly #stop = new AbortController();
  #pending: LedgerEntry[] = [];
  #flushing: Promise<void> | undefined;
  #lost = 0;

  constructor(options: LedgerOptions) {
    this.#options = { flushMs: 250, batch: 500, maxPending: 50_000, ...options };
  }

  /** Takes an entry and returns at once. */
  record(entry: LedgerEntry): void {
    this.#pending.push(entry);
    if (this.#pending.length > this.#options.maxPending) {
      this.#pending.shift();
      this.#lost += 1;
    }
    this.#flushing ??= this.#flushLater();
  }

  /** Appends everything that was recorded before. Throws what the store throws. */
  async flush(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending.slice(0, this.#options.batch);
      await this.#options.store.append(batch);
      const written = new Set(batch);
      this.#pending = this.#pending.filter((entry) => !written.has(entry));
    }
  }

  /** Appends what is left. The store is closed by whoever opened it. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#flushing;
    try {
      await this.flush();
    } catch (err) {
      const entries = this.#pending.length;
      this.#options.logger.error({ err, entries }, "ledger entries are lost");
    }
  }

  async #flushLater(): Promise<void> {
    const { clock, flushMs, logger } = this.#options;
    try {
      // While it sleeps, entries gather; a failed append is tried again with the next ones.
      while (this.#pending.length > 0 && !this.#stop.signal.aborted) {
        await clock.sleep(flushMs, this.#stop.signal).catch(() => {});
        if (this.#stop.signal.aborted) return;
        try {
          await this.flush();
        } catch (err) {
          logger.error({ err, entries: this.#pending.length }, "the ledger cannot be written");
        }
        if (this.#lost > 0) logger.error({ entries: this.#lost }, "ledger entries are lost");
        this.#lost = 0;
      }
    } finally {
      this.#flushing = undefined;
    }
  }
}
