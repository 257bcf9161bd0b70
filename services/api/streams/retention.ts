/**
 * Removes the logs of jobs that ended long ago, a few at a time. What is
 * removed, and what stays in its place, is the store's to know.
 */
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";

/** What retention needs of the store. */
export interface TrimmableStore {
  /**
   * Removes the events of jobs that ended longer ago than `endedBeforeMs`, of
   * `limit` jobs at most; answers their ids.
   */
  trim(input: { readonly endedBeforeMs: number; readonly limit: number }): Promise<string[]>;
}

/** What the worker works with. */
export interface LogRetentionOptions {
  readonly store: TrimmableStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long logs are kept, in days, asked before each round. 0: for ever. */
  readonly retentionDays: () => number;
  /** From the end of one round to the next. Default: 600,000 ms. */
  readonly intervalMs?: number;
}

/** Jobs in one statement of the store: a round of many is many short ones. */
const jobsAtOnce = 100;

const dayMs = 24 * 60 * 60 * 1000;

/** The worker. Several backends over one store may each have one. */
export class LogRetention {
  readonly #store: TrimmableStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #retentionDays: () => number;
  readonly #intervalMs: number;
  readonly #stop = new AbortController();
  #working: Promise<void> | undefined;

  constructor(options: LogRetentionOptions) {
    const { store, clock, logger, retentionDays, intervalMs = 600_000 } = options;
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
    this.#retentionDays = retentionDays;
    this.#intervalMs = intervalMs;
  }

  /** Starts with a round at once. */
  start(): void {
    this.#working ??= this.#work(this.#stop.signal);
  }

  /** Ends after the statement that is under way. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#working;
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#round(signal);
      } catch (err) {
        // The store is away: the next round finds what this one left.
        this.#logger.warn({ err }, "logs were not trimmed");
      }
      await this.#clock.sleep(this.#intervalMs, signal).catch(() => {
        // Closed: the loop's condition ends it.
      });
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    let jobs = 0;
    for (let count = jobsAtOnce; count === jobsAtOnce && !signal.aborted; ) {
      const days = this.#retentionDays();
      if (days <= 0) break;
      const trimmed = await this.#store.trim({ endedBeforeMs: days * dayMs, limit: jobsAtOnce });
      count = trimmed.length;
      jobs += count;
    }
    if (jobs > 0) this.#logger.info({ jobs }, "logs trimmed");
  }
}
