/**
 * Keeps callers without credentials, and those that call too often, from filling
 * the audit. For each caller, action and reason the first few refusals of a minute have a row each; those behind them
 * are counted, and one row at the minute's end says how many there were.
 */
import type { AuditEntry } from "@devmesh/mesh/interceptors";
import type { Clock } from "@devmesh/mesh/runtime";

/** Rows of their own in a window, for each caller, action and reason. */
const refusalsInFull = 10;

/** The window: one minute. */
const refusalWindowMs = 60_000;

/** What the summary needs. */
export interface RefusalSummaryOptions {
  readonly clock: Clock;
  /** Takes the row that stands for many. */
  readonly write: (entry: AuditEntry) => void;
}

interface Refusals {
  seen: number;
  last: AuditEntry;
}

/** Counts refusals of callers that showed no good credentials, or called too often. */
export class RefusalSummary {
  readonly #clock: Clock;
  readonly #write: (entry: AuditEntry) => void;
  readonly #closed = new AbortController();
  /** By caller, action and reason: as many as there are tokens, strangers counting as one. */
  #window = new Map<string, Refusals>();

  constructor({ clock, write }: RefusalSummaryOptions) {
    this.#clock = clock;
    this.#write = write;
  }

  /** True if the row is to be written as it is; false if it is counted. */
  admit(entry: AuditEntry): boolean {
    const { actor, action, outcome } = entry;
    if (outcome === "ok" || (actor !== "anonymous" && outcome !== "RATE_LIMITED")) return true;
    if (this.#window.size === 0) void this.#summariseLater();
    const key = `${actor} ${action} ${outcome}`;
    const refusals = this.#window.get(key) ?? { seen: 0, last: entry };
    refusals.seen += 1;
    refusals.last = entry;
    this.#window.set(key, refusals);
    return refusals.seen <= refusalsInFull;
  }

  /** Writes what was counted so far, and counts no more. */
  close(): void {
    this.#closed.abort();
    this.#summarise();
  }

  async #summariseLater(): Promise<void> {
    try {
      await this.#clock.sleep(refusalWindowMs, this.#closed.signal);
    } catch {
      // Closed: that writes it.
      return;
    }
    this.#summarise();
  }

  #summarise(): void {
    const window = this.#window;
    this.#window = new Map();
    for (const { seen, last } of window.values()) {
      const more = seen - refusalsInFull;
      if (more > 0) this.#write({ ...last, resource: `${more} more in this minute` });
    }
  }
}
