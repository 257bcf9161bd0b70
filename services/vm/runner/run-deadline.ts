/** When an attempt must have ended. */
import type { Clock } from "@devmesh/mesh/runtime";

/** A time that can be moved further. */
export class RunDeadline {
  readonly #clock: Clock;
  readonly #startedAtMs: number;
  #limitMs: number;
  #moved = new AbortController();
  #reached = false;

  /** `limitMs` from now. */
  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#startedAtMs = clock.now();
    this.#limitMs = limitMs;
  }

  /** How long the attempt may take in all, in milliseconds. */
  get limitMs(): number {
    return this.#limitMs;
  }

  /** How much of it is left, in milliseconds. */
  get leftMs(): number {
    return Math.max(0, this.#startedAtMs + this.#limitMs - this.#clock.now());
  }

  /** True once it has passed. */
  get isReached(): boolean {
    return this.#reached;
  }

  /** Gives more time. */
  extend(moreMs: number): void {
    this.#limitMs += moreMs;
    this.#moved.abort();
    this.#moved = new AbortController();
  }

  /** Calls back once when it passes; never after the signal aborts. */
  async watch(signal: AbortSignal, onReached: () => void): Promise<void> {
    while (!signal.aborted) {
      const moved = this.#moved.signal;
      try {
        await this.#clock.sleep(this.leftMs, AbortSignal.any([signal, moved]));
      } catch {
        // The attempt has ended, or there is more time.
        continue;
      }
      if (signal.aborted) return;
      this.#reached = true;
      onReached();
      return;
    }
  }
}
