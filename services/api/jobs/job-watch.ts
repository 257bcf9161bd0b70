/** Follows a job's events from any number on until its end. */
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { notFound } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { JobSignals } from "./job-signals.ts";
import type { JobStore } from "./job-store.ts";

/** What a watch needs. */
export interface JobWatchOptions {
  readonly store: JobStore;
  readonly signals: JobSignals;
  readonly clock: Clock;
  /** How often a silent stream shows that it lives. */
  readonly keepaliveMs: number;
}

/** Opens streams of events. */
export class JobWatch {
  readonly #store: JobStore;
  readonly #signals: JobSignals;
  readonly #clock: Clock;
  /** How often a silent stream shows that it lives. */
  readonly keepaliveMs: number;

  constructor({ store, signals, clock, keepaliveMs }: JobWatchOptions) {
    this.#store = store;
    this.#signals = signals;
    this.#clock = clock;
    this.keepaliveMs = keepaliveMs;
  }

  /**
   * Events from number `from` on, in order, each once; `undefined` where
   * nothing happened for the keepalive's time. Ends after the result, and at
   * once where `from` lies behind it. Reads a page ahead of the caller and no
   * more, so a slow reader costs nobody anything. Throws NOT_FOUND, and the
   * signal's reason when it aborts: only a job's end ends a watch in peace.
   */
  async *events(
    id: string,
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<JobEvent | undefined> {
    using listener = this.#signals.listen(id);
    if ((await this.#store.get(id)) === undefined) throw notFound("job", id);
    let next = Math.max(1, from);
    let spokeAtMs = this.#clock.now();
    for (;;) {
      signal.throwIfAborted();
      const events = await this.#store.readEvents(id, next, { maxEvents: 500, maxBytes: 1 << 20 });
      for (const event of events) {
        yield event;
        if (event.kind.case === "result") return;
        signal.throwIfAborted();
        next = event.seq + 1;
        spokeAtMs = this.#clock.now();
      }
      if (events.length > 0) continue;
      if (await this.#isBehindEnd(id, next)) return;
      await listener.wait(spokeAtMs + this.keepaliveMs - this.#clock.now(), signal);
      if (this.#clock.now() - spokeAtMs < this.keepaliveMs || signal.aborted) continue;
      yield undefined;
      spokeAtMs = this.#clock.now();
    }
  }

  /** True for a reader that asks for numbers behind the result. */
  async #isBehindEnd(id: string, next: number): Promise<boolean> {
    const job = await this.#store.get(id);
    return job?.result !== undefined && next > job.lastSeq;
  }
}
