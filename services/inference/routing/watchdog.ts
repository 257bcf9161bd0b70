/**
 * Ends an attempt that stays silent or lasts too long: one timer for a whole
 * stream, however many pieces it has.
 */
import type { Clock } from "@devmesh/mesh/runtime";

/** How long a provider may stay silent and a request may last, in milliseconds. */
export interface TimeLimits {
  /** Until the first piece. */
  readonly firstTokenTimeoutMs: number;
  /** Between two pieces. */
  readonly idleTimeoutMs: number;
  /** The whole answer, with all attempts at it. */
  readonly answerTimeoutMs: number;
}

/** Why an attempt was ended. */
export interface Bark {
  readonly reason: "PROVIDER_UNAVAILABLE" | "DEADLINE_EXCEEDED";
  readonly message: string;
}

/** What a watchdog is made from. */
export interface WatchdogOptions {
  readonly clock: Clock;
  readonly limits: TimeLimits;
  /** When the request began, in the clock's milliseconds. */
  readonly requestedAt: number;
  /** What is aborted when a limit is passed. */
  readonly abort: AbortController;
}

/** Made once: a stack for each stop is dear. */
const stopped = new Error("the watch was stopped");

/** Watches one attempt. Always `stop` it in a `finally`. */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #stop = new AbortController();
  #lastAt: number;
  #started = false;
  #paused = false;
  #bark: Bark | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#lastAt = options.clock.now();
    this.#watch().catch(() => {
      // The sleep was ended by `stop`.
    });
  }

  /** Why it ended the attempt; undefined if it did not. */
  get bark(): Bark | undefined {
    return this.#bark;
  }

  /** A piece came, and the consumer has it: until `resumed`, silence is not the provider's. */
  heard(): void {
    this.#started = true;
    this.#paused = true;
  }

  /** The consumer waits for the next piece. */
  resumed(): void {
    this.#paused = false;
    this.#lastAt = this.#options.clock.now();
  }

  /** The attempt is over. */
  stop(): void {
    this.#stop.abort(stopped);
  }

  async #watch(): Promise<void> {
    const { clock, limits, requestedAt, abort } = this.#options;
    for (;;) {
      const now = clock.now();
      const silenceMs = this.#started ? limits.idleTimeoutMs : limits.firstTokenTimeoutMs;
      const silenceLeftMs = this.#paused ? limits.idleTimeoutMs : this.#lastAt + silenceMs - now;
      const requestLeftMs = requestedAt + limits.answerTimeoutMs - now;
      if (requestLeftMs <= 0) {
        const message = `the answer took longer than ${limits.answerTimeoutMs} ms`;
        this.#bark = { reason: "DEADLINE_EXCEEDED", message };
      } else if (silenceLeftMs <= 0) {
        const message = this.#started
          ? `it fell silent for ${silenceMs} ms`
          : `it gave no first token within ${silenceMs} ms`;
        this.#bark = { reason: "PROVIDER_UNAVAILABLE", message };
      }
      if (this.#bark !== undefined) {
        abort.abort();
        return;
      }
      // Never longer than the idle limit: the first piece changes which limit holds.
      const sleepMs = Math.min(silenceLeftMs, requestLeftMs, limits.idleTimeoutMs);
      await clock.sleep(sleepMs, this.#stop.signal);
    }
  }
}
