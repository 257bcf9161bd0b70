/** The queue as a whole: its state, pause and resume, and how many jobs may wait. */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { JobStore, QueueState } from "../jobs/job-store.ts";

/** How long a count of the waiting jobs is believed, in milliseconds. */
const countedForMs = 2_000;

/** What the queue needs. */
export interface QueueOptions {
  readonly store: Pick<JobStore, "queue" | "stats" | "pause" | "resume">;
  readonly clock: Clock;
  /** How many jobs may wait; asked anew each time. */
  readonly maxQueued: () => number;
}

/** The queue, and how many jobs may wait in it. */
export interface LimitedQueueState extends QueueState {
  readonly maxQueued: number;
}

/** One queue for all jobs. */
export class Queue {
  readonly #store: QueueOptions["store"];
  readonly #clock: Clock;
  readonly #maxQueued: () => number;
  #counting: Promise<number> | undefined;
  #countedAtMs = Number.NEGATIVE_INFINITY;
  /** Jobs let in since the count was begun. */
  #admitted = 0;

  constructor({ store, clock, maxQueued }: QueueOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#maxQueued = maxQueued;
  }

  /** As it stands. Costs a count of the waiting jobs. */
  async state(): Promise<LimitedQueueState> {
    return { ...(await this.#store.queue()), maxQueued: this.#maxQueued() };
  }

  /** Starts no more jobs; what runs goes on. The first reason stands until it is resumed. */
  async pause(detail: string): Promise<LimitedQueueState> {
    // Postgres takes no NUL in a text.
    await this.#store.pause(detail.replaceAll("\0", ""));
    return await this.state();
  }

  /** Starts jobs again. */
  async resume(): Promise<LimitedQueueState> {
    await this.#store.resume();
    return await this.state();
  }

  /**
   * Lets one more job in. The waiting jobs are counted at most every 2 s; what
   * this process lets in meanwhile is added, what ends or comes in elsewhere is
   * not. Throws RATE_LIMITED.
   */
  async admit(): Promise<void> {
    const max = this.#maxQueued();
    const counted = await this.#count();
    if (counted + this.#admitted >= max) {
      throw new DevmeshError(
        "RATE_LIMITED",
        `the queue is full: ${max} jobs wait already (max_queued_jobs); try again when some have started`,
        { metadata: { limit: "max_queued_jobs", max: String(max) }, retryAfterMs: countedForMs },
      );
    }
    this.#admitted += 1;
  }

  #count(): Promise<number> {
    const now = this.#clock.now();
    if (this.#counting === undefined || now - this.#countedAtMs >= countedForMs) {
      this.#countedAtMs = now;
      this.#admitted = 0;
      this.#counting = this.#store.stats().then(({ queued }) => queued);
      // A count that failed is tried again by the next caller.
      this.#counting.catch(() => {
        this.#counting = undefined;
      });
    }
    return this.#counting;
  }
}
