/**
 * Owns when work that nobody waits for may use the processor: only while no work that
 * somebody waits for is under way, and for a rest after it. What the work is, is its users'
 * business.
 */

/** Work that can be made to stand still. */
export interface Holdable {
  /** Stops it where it stands. Idempotent. */
  hold(): void;
  /** Lets it go on. Idempotent. */
  letGo(): void;
}

/** Tells idle time from busy time. */
export class IdleTime {
  readonly #restMs: number;
  readonly #work = new Set<Holdable>();
  #busy = 0;
  #rest: NodeJS.Timeout | undefined;
  #idle: PromiseWithResolvers<void> | undefined;

  /** `restMs`: how long after the last work that is waited for it is idle time again. */
  constructor(restMs: number) {
    this.#restMs = restMs;
  }

  /** Does work that somebody waits for; other work stands still meanwhile. */
  async busy<T>(work: () => Promise<T>): Promise<T> {
    this.#busy++;
    clearTimeout(this.#rest);
    this.#idle ??= Promise.withResolvers<void>();
    try {
      for (const each of this.#work) each.hold();
      return await work();
    } finally {
      this.#busy--;
      if (this.#busy === 0) this.#rest = setTimeout(() => this.#begin(), this.#restMs).unref();
    }
  }

  /** Resolves in idle time. Rejects when `signal` fires before. */
  async begins(signal: AbortSignal): Promise<void> {
    while (this.#idle) {
      const aborted = Promise.withResolvers<never>();
      const onAbort = () => aborted.reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) onAbort();
      try {
        await Promise.race([this.#idle.promise, aborted.promise]);
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    }
    signal.throwIfAborted();
  }

  /** Holds this work in busy time from now on, until it is given free. */
  share(work: Holdable): () => void {
    this.#work.add(work);
    if (this.#idle) work.hold();
    return () => {
      this.#work.delete(work);
      work.letGo();
    };
  }

  #begin(): void {
    this.#idle?.resolve();
    this.#idle = undefined;
    for (const each of this.#work) each.letGo();
  }
}
