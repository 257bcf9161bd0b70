/**
 * Wakes those who wait for a job, or for any. The store's hints may be lost, so
 * a look at the store once a second stands behind them: one for each watched
 * job, however many watch it.
 */
import type { Clock } from "@devmesh/mesh/runtime";
import type { JobStore } from "./job-store.ts";

/** How long a lost hint may delay anybody, in milliseconds. */
const pollMs = 1_000;

/** Who waits for one job, and how far its log went at the last look. */
interface Watched {
  readonly listeners: Set<JobListener>;
  lastSeq: number | undefined;
}

/** What the class needs of the store. */
type WatchedStore = Pick<JobStore, "get" | "onChange">;

/** One subscription to the store's hints, shared by all waiters. */
export class JobSignals {
  readonly #store: WatchedStore;
  readonly #clock: Clock;
  readonly #jobs = new Map<string, Watched>();
  readonly #anyJob = new Set<JobListener>();
  readonly #unsubscribe: () => void;
  #polling: AbortController | undefined;

  constructor(store: WatchedStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#unsubscribe = store.onChange((jobId) => {
      wakeAll(this.#jobs.get(jobId)?.listeners ?? []);
      wakeAll(this.#anyJob);
    });
  }

  /**
   * Starts to listen for a job before the caller looks at the store, so that no
   * change between look and wait is missed.
   */
  listen(jobId: string): JobListener {
    const watched = this.#jobs.get(jobId) ?? { listeners: new Set(), lastSeq: undefined };
    this.#jobs.set(jobId, watched);
    const listener = new JobListener(this.#clock, () => this.#leave(jobId, listener));
    watched.listeners.add(listener);
    if (this.#polling === undefined) {
      this.#polling = new AbortController();
      void this.#poll(this.#polling.signal);
    }
    return listener;
  }

  /** The same for changes of any job. The look at the store once a second is the caller's own. */
  listenToAll(): JobListener {
    const listener = new JobListener(this.#clock, () => this.#anyJob.delete(listener), pollMs);
    this.#anyJob.add(listener);
    return listener;
  }

  /** Ends the subscription and the looks; who still waits is woken. */
  close(): void {
    this.#unsubscribe();
    this.#stopPolling();
    for (const { listeners } of this.#jobs.values()) wakeAll(listeners);
    wakeAll(this.#anyJob);
  }

  #leave(jobId: string, listener: JobListener): void {
    const watched = this.#jobs.get(jobId);
    watched?.listeners.delete(listener);
    if (watched?.listeners.size === 0) this.#jobs.delete(jobId);
    if (this.#jobs.size === 0) this.#stopPolling();
  }

  #stopPolling(): void {
    this.#polling?.abort();
    this.#polling = undefined;
  }

  async #poll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(pollMs, signal);
      } catch {
        // Nobody watches any more.
        return;
      }
      // One after the other: many watched jobs are a slower look, never a flood.
      for (const [jobId, watched] of this.#jobs) {
        if (signal.aborted) return;
        await this.#look(jobId, watched);
      }
    }
  }

  async #look(jobId: string, watched: Watched): Promise<void> {
    try {
      const lastSeq = (await this.#store.get(jobId))?.lastSeq;
      if (lastSeq === watched.lastSeq) return;
      watched.lastSeq = lastSeq;
    } catch {
      // The store is away: those who wait look for themselves and tell their callers.
    }
    wakeAll(watched.listeners);
  }
}

/**
 * Remembers whether something happened since the last wait. A thousand watchers
 * wait for each line of a job, so a wait makes as little as it can: the alarm
 * and the signal's listener are made once and serve many waits.
 */
class JobListener {
  readonly #clock: Clock;
  readonly #leave: () => void;
  readonly #maxWaitMs: number;
  readonly #left = new AbortController();
  #pending = false;
  #wake: (() => void) | undefined;
  #heeded: AbortSignal | undefined;
  /** How long the wait that is under way may take: a clock that is set back does not prolong it by more. */
  #waitMs = 0;
  /** When it ends at the latest, by the clock. */
  #dueMs = 0;
  /** When the alarm that is set goes off; infinite if none is. */
  #alarmMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, leave: () => void, maxWaitMs = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.#leave = leave;
    this.#maxWaitMs = maxWaitMs;
  }

  /** Something may have happened. */
  wake(): void {
    this.#pending = true;
    this.#wake?.();
  }

  /** Resolves at the next hint, after `maxMs` at the latest, or when the signal aborts. */
  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#pending && !signal.aborted) {
      this.#heed(signal);
      this.#waitMs = Math.min(maxMs, this.#maxWaitMs);
      this.#dueMs = this.#clock.now() + this.#waitMs;
      this.#setAlarm();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    this.#pending = false;
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    this.#left.abort();
    this.#leave();
  }

  #heed(signal: AbortSignal): void {
    if (this.#heeded === signal) return;
    this.#heeded = signal;
    signal.addEventListener("abort", () => this.#wake?.(), { signal: this.#left.signal });
  }

  /** An alarm that goes off before it is due is set again; an earlier one is in nobody's way. */
  #setAlarm(): void {
    if (this.#alarmMs <= this.#dueMs) return;
    const alarmMs = this.#dueMs;
    this.#alarmMs = alarmMs;
    const leftMs = Math.max(0, Math.min(this.#waitMs, alarmMs - this.#clock.now()));
    this.#clock.sleep(leftMs, this.#left.signal).then(
      () => {
        if (this.#alarmMs === alarmMs) this.#alarmMs = Number.POSITIVE_INFINITY;
        if (this.#wake === undefined) return;
        if (alarmMs === this.#dueMs || this.#clock.now() >= this.#dueMs) this.#wake();
        else this.#setAlarm();
      },
      () => {
        // It listens no more.
      },
    );
  }
}

function wakeAll(listeners: Iterable<JobListener>): void {
  for (const listener of listeners) listener.wake();
}
