/** What the job benches ask of a queue, and how its rates are measured. */

/** A queue with a backlog. Each system has a store of its own. */
export interface Queue {
  readonly name: string;
  /** Empties it and lets `queued` jobs of priority 0 wait. */
  fill(queued: number): Promise<void>;
  /** Accepts one job; resolves when it would survive the death of this process. */
  accept(): Promise<unknown>;
  /** Lets claimers work for `windowMs`. */
  work(windowMs: number): Promise<WorkRates>;
  /**
   * From the call that accepts a job of the highest priority to its start,
   * once for each sample, in milliseconds, while claimers work off what waits.
   */
  startLatencies(samples: number): Promise<number[]>;
  close(): Promise<void>;
}

/** What claimers got done. */
export interface WorkRates {
  /** Jobs claimed a second, each by a call of its own. */
  readonly claimsPerSecond: number;
  /** Jobs claimed and finished a second. */
  readonly jobsPerSecond: number;
}

/** How many callers accept and claim at once. */
export const callers = 8;

/** Calls `step` by several callers for `windowMs`; answers how many calls a second were made. */
export async function rateOf(windowMs: number, step: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  let calls = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() - startedAt < windowMs) {
        await step();
        calls += 1;
        // A store in this process answers at once: what waits beside it gets its turn.
        if (calls % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }),
  );
  return (calls * 1000) / (performance.now() - startedAt);
}

/** A queue whose claims can be called one by one. */
export interface ClaimableQueue<Claimed> {
  claim(): Promise<Claimed | undefined>;
  finish(claimed: Claimed): Promise<unknown>;
}

/** Claims for half of the window, then claims and finishes for the other half. */
export async function claimAndFinish<C>(
  queue: ClaimableQueue<C>,
  windowMs: number,
): Promise<WorkRates> {
  const held: C[] = [];
  const claimsPerSecond = await rateOf(windowMs / 2, async () => {
    const claimed = await queue.claim();
    if (claimed !== undefined) held.push(claimed);
  });
  for (const claimed of held) await queue.finish(claimed);
  const jobsPerSecond = await rateOf(windowMs / 2, async () => {
    const claimed = await queue.claim();
    if (claimed !== undefined) await queue.finish(claimed);
  });
  return { claimsPerSecond, jobsPerSecond };
}

/** A hint that work may be there, which wakes one waiter or the next one. */
export class Hint {
  #pending = false;
  #wake: (() => void) | undefined;

  give(): void {
    this.#pending = true;
    this.#wake?.();
  }

  async wait(): Promise<void> {
    if (!this.#pending) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = undefined;
    this.#pending = false;
  }
}

/** One job that is being timed. */
export class StartTimer {
  readonly #waiting = new Map<string, (at: number) => void>();
  readonly #early = new Map<string, number>();

  /** The job with this id has started. */
  started(id: string): void {
    const now = performance.now();
    const resolve = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (resolve === undefined) this.#early.set(id, now);
    else resolve(now);
  }

  /** Accepts jobs one after another; answers how long each took to start. */
  async samples(count: number, accept: () => Promise<string>): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      // Not in step with the claimers.
      await new Promise((resolve) => setTimeout(resolve, 3 + (i % 7)));
      const sentAt = performance.now();
      const id = await accept();
      times.push((await this.#start(id)) - sentAt);
      this.#early.clear();
    }
    return times;
  }

  #start(id: string): Promise<number> {
    const early = this.#early.get(id);
    if (early !== undefined) return Promise.resolve(early);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }
}
