/** Notices work that writes nothing for too long. What is done about it is left to its user. */
import type { Clock } from "@devmesh/mesh/runtime";

/** How often it looks at most, in milliseconds. */
const maxTickMs = 1_000;

/** What a watch needs. */
export interface SilenceWatchOptions {
  /** The longest time without a byte of output, in milliseconds. 0: no limit. */
  readonly limitMs: number;
  readonly clock: Clock;
  /** Called once, at most a second (or a tenth of the limit) after the limit. */
  readonly onSilent: () => void;
}

/**
 * Adds up the time in which nothing was written. Time in which the work could
 * not have been heard does not count: while its output is held back, and while
 * this process itself stood still.
 */
export class SilenceWatch {
  readonly #options: SilenceWatchOptions;
  readonly #done = new AbortController();
  #heard = 0;
  #holding = 0;

  constructor(options: SilenceWatchOptions) {
    this.#options = options;
  }

  /** Begins to watch, until `close`. */
  start(): void {
    if (this.#options.limitMs > 0) void this.#watch();
  }

  /** Output is here; the work is held back until `taken` settles. */
  async hear<T>(taken: Promise<T>): Promise<T> {
    this.#heard += 1;
    this.#holding += 1;
    try {
      return await taken;
    } finally {
      this.#holding -= 1;
    }
  }

  /** The work has ended. */
  close(): void {
    this.#done.abort();
  }

  async #watch(): Promise<void> {
    const { limitMs, clock, onSilent } = this.#options;
    const tickMs = Math.min(maxTickMs, limitMs / 10);
    let silentMs = 0;
    while (silentMs < limitMs) {
      const before = this.#heard;
      const sinceMs = clock.now();
      try {
        await clock.sleep(tickMs, this.#done.signal);
      } catch {
        // The work has ended.
        return;
      }
      const isSilent = this.#heard === before && this.#holding === 0;
      // A tick that comes late says that this process slept, not that the work was silent.
      silentMs = isSilent ? silentMs + Math.min(clock.now() - sinceMs, 2 * tickMs) : 0;
    }
    onSilent();
  }
}
