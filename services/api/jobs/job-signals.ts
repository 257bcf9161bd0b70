/** Wakes those who wait for a job, or for any. Hints only: every waiter also polls. */
import type { Clock } from "@devmesh/mesh/runtime";
import type { JobStore } from "./job-store.ts";

/** How long a lost hint may delay anybody. */
const pollMs = 1_000;

/** One subscription to the store's hints, shared by all waiters. */
export class JobSignals {
  readonly #clock: Clock;
  readonly #waiters = new Map<string, Set<() => void>>();
  readonly #stop: () => void;

  constructor(store: JobStore, clock: Clock) {
    this.#clock = clock;
    this.#stop = store.onChange((jobId) => {
      this.#wake(jobId);
      this.#wake("");
    });
  }

  /**
   * Starts to listen for a job (or, with "", for any) before the caller looks
   * at the store, so that no change between look and wait is missed.
   */
  listen(jobId: string): JobListener {
    return new JobListener(this.#clock, (wake) => this.#add(jobId, wake));
  }

  /** Ends the subscription. */
  close(): void {
    this.#stop();
  }

  #add(jobId: string, wake: () => void): () => void {
    const waiters = this.#waiters.get(jobId) ?? new Set();
    this.#waiters.set(jobId, waiters);
    waiters.add(wake);
    return () => {
      waiters.delete(wake);
      if (waiters.size === 0 && this.#waiters.get(jobId) === waiters) this.#waiters.delete(jobId);
    };
  }

  #wake(jobId: string): void {
    for (const wake of this.#waiters.get(jobId) ?? []) wake();
  }
}

/** Remembers whether something happened since the last wait. */
export class JobListener {
  readonly #clock: Clock;
  readonly #remove: () => void;
  #pending = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock, add: (wake: () => void) => () => void) {
    this.#clock = clock;
    this.#remove = add(() => {
      this.#pending = true;
      this.#wake?.();
    });
  }

  /** Resolves at the next hint, after `maxMs`, after a second at the latest, or when the signal aborts. */
  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#pending && !signal.aborted) {
      const woken = new AbortController();
      const hint = new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true, signal: woken.signal });
      });
      const late = this.#clock.sleep(Math.min(maxMs, pollMs), woken.signal);
      // The sleep that lost the race ends by the abort below.
      await Promise.race([hint, late.catch(() => {})]);
      woken.abort();
      this.#wake = undefined;
    }
    this.#pending = false;
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    this.#remove();
  }
}
