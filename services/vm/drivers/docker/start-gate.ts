/**
 * Lets so many starts at a time through to an engine, the rest in line, and refuses what the
 * line has no room for: an engine that is asked for fifty at once answers none in time.
 */
import { DevmeshError } from "@devmesh/mesh/errors";

/** What a gate is made of. */
export interface StartGateOptions {
  /** How many are through at once. */
  readonly width: number;
  /** How many may wait. */
  readonly line: number;
  /** How long one waits at most, in milliseconds. */
  readonly waitMs: number;
}

interface Waiter {
  readonly enter: () => void;
}

/** A gate in front of an engine. */
export class StartGate {
  readonly #options: StartGateOptions;
  readonly #line: Waiter[] = [];
  #inside = 0;

  constructor(options: StartGateOptions) {
    this.#options = options;
  }

  /** True if nobody waits and there is room. */
  get isFree(): boolean {
    return this.#inside < this.#options.width;
  }

  /**
   * Runs `start` when it is its turn. Throws RATE_LIMITED when the line is full or the turn
   * does not come in time, CANCELLED when `signal` fires before it.
   */
  async pass<T>(start: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#turn(signal);
    try {
      return await start();
    } finally {
      const next = this.#line.shift();
      // The place is handed on, so that nobody slips in between.
      if (next) next.enter();
      else this.#inside--;
    }
  }

  async #turn(signal?: AbortSignal): Promise<void> {
    const { width, line, waitMs } = this.#options;
    if (signal?.aborted) throw cancelled();
    if (this.#inside < width) {
      this.#inside++;
      return;
    }
    if (this.#line.length >= line) throw busy(`${line} starts wait already`);
    const turn = Promise.withResolvers<void>();
    const waiter: Waiter = { enter: turn.resolve };
    const leave = (error: DevmeshError) => {
      const index = this.#line.indexOf(waiter);
      if (index < 0) return;
      this.#line.splice(index, 1);
      turn.reject(error);
    };
    const onAbort = () => leave(cancelled());
    const timer = setTimeout(() => leave(busy(`no turn came within ${waitMs} ms`)), waitMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#line.push(waiter);
    try {
      await turn.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }
}

function busy(why: string): DevmeshError {
  const message = `the engine has too many sandboxes to start: ${why}`;
  return new DevmeshError("RATE_LIMITED", message, { retryAfterMs: 1_000 });
}

function cancelled(): DevmeshError {
  return new DevmeshError("CANCELLED", "the start was cancelled");
}
