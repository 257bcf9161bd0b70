/** Time as a collaborator: the real clock, and one that tests move by hand. */

/** Tells the time and wakes callers up. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds, at once where they are over; rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A timer of Node that is set for longer rings at once. */
const longestTimerMs = 2 ** 31 - 1;

/** The machine's clock. */
export class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      let timer: NodeJS.Timeout;
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const wait = (leftMs: number) => {
        timer = setTimeout(
          () => {
            if (leftMs > longestTimerMs) return wait(leftMs - longestTimerMs);
            signal?.removeEventListener("abort", onAbort);
            resolve();
          },
          Math.min(leftMs, longestTimerMs),
        );
      };
      wait(Math.max(0, ms));
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}

/** A clock that stands still until a test moves it. */
export class TestClock implements Clock {
  #now: number;
  #sleepers = new Set<{ at: number; wake: () => void }>();

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const onAbort = () => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const sleeper = { at: this.#now + ms, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** How many wait now: a test moves the time once its subject sleeps. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Moves the time forward and wakes whoever is due, the earliest first. */
  advance(ms: number): void {
    this.#now += ms;
    const due = [...this.#sleepers].filter(({ at }) => at <= this.#now);
    for (const sleeper of due.sort((a, b) => a.at - b.at)) {
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
  }
}
