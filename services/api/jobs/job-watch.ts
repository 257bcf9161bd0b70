/** Follows a job's events from any number on until its end. */
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";
import { EventPages } from "../streams/event-pages.ts";
import type { JobSignals } from "./job-signals.ts";
import type { JobStore } from "./job-store.ts";

/** What a watch needs. */
export interface JobWatchOptions {
  readonly store: JobStore;
  readonly signals: JobSignals;
  readonly clock: Clock;
  /** How often a silent stream shows that it lives. */
  readonly keepaliveMs: number;
  /** How long a reader may take for one event until it is shed. Default: 30,000 ms. */
  readonly slowReaderMs?: number;
}

/** Opens streams of events. */
export class JobWatch {
  readonly #store: JobStore;
  readonly #signals: JobSignals;
  readonly #clock: Clock;
  readonly #slowReaderMs: number;
  readonly #pages: EventPages;
  /** How often a silent stream shows that it lives. */
  readonly keepaliveMs: number;

  constructor({ store, signals, clock, keepaliveMs, slowReaderMs = 30_000 }: JobWatchOptions) {
    this.#store = store;
    this.#signals = signals;
    this.#clock = clock;
    this.#slowReaderMs = slowReaderMs;
    this.#pages = new EventPages({ store });
    this.keepaliveMs = keepaliveMs;
  }

  /**
   * Events from number `from` on, in order, each once; `undefined` at once
   * where there is none yet, so that the reader knows that it was let in, and
   * where nothing happened for the keepalive's time. Ends after the result, and at
   * once where `from` lies behind it. Watchers at the same number share their
   * reads; each holds one page and no more, so a slow reader costs nobody
   * anything. Throws NOT_FOUND; UNAVAILABLE to a reader that took longer than
   * `slowReaderMs` for one event; and the signal's reason when it aborts: only
   * a job's end ends a watch in peace. The last two name the number to come
   * back with as `resume_from`.
   */
  async *events(id: string, from: number, ends: AbortSignal): AsyncGenerator<JobEvent | undefined> {
    using end = follow(ends);
    const { signal } = end;
    using listener = this.#signals.listen(id);
    using pages = this.#pages.open(id);
    if ((await this.#store.get(id)) === undefined) throw notFound("job", id);
    let next = Math.max(1, from);
    // Who has seen an event is never behind the result: it would have seen that too.
    let hasSeen = false;
    let isLetIn = false;
    let spokeAtMs = this.#clock.now();
    const spoken = () => {
      const tookMs = this.#clock.now() - spokeAtMs;
      if (tookMs > this.#slowReaderMs) throw tooSlow(tookMs, next);
      throwIfAborted(signal, next);
      spokeAtMs = this.#clock.now();
    };
    for (;;) {
      throwIfAborted(signal, next);
      const events = await pages.read(next);
      for (const event of events) {
        spokeAtMs = this.#clock.now();
        yield event;
        if (event.kind.case === "result") return;
        next = event.seq + 1;
        hasSeen = true;
        spoken();
      }
      if (events.length > 0) continue;
      if (!hasSeen && (await this.#isBehindEnd(id, next))) return;
      if (!hasSeen && !isLetIn) {
        isLetIn = true;
        spokeAtMs = this.#clock.now();
        yield undefined;
        spoken();
      }
      await listener.wait(spokeAtMs + this.keepaliveMs - this.#clock.now(), signal);
      if (this.#clock.now() - spokeAtMs < this.keepaliveMs || signal.aborted) continue;
      spokeAtMs = this.#clock.now();
      yield undefined;
      spoken();
    }
  }

  /** True for a reader that asks for numbers behind the result. */
  async #isBehindEnd(id: string, next: number): Promise<boolean> {
    const job = await this.#store.get(id);
    return job?.result !== undefined && next > job.lastSeq;
  }
}

/**
 * Ends as the other does. A signal that is put together of others looks at all of them each time
 * that it is asked, and a watch asks at each event.
 */
function follow(other: AbortSignal): { readonly signal: AbortSignal; [Symbol.dispose](): void } {
  const own = new AbortController();
  const onAbort = () => own.abort(other.reason);
  if (other.aborted) onAbort();
  other.addEventListener("abort", onAbort, { once: true });
  return {
    signal: own.signal,
    [Symbol.dispose]: () => other.removeEventListener("abort", onAbort),
  };
}

/** Sheds a reader: it comes back with `resumeFrom` when it can keep up. */
export function tooSlow(tookMs: number, resumeFrom: number): DevmeshError {
  return new DevmeshError(
    "UNAVAILABLE",
    `the reader took nothing for ${Math.round(tookMs)} ms: come back from event ${resumeFrom}`,
    { metadata: { resume_from: String(resumeFrom) } },
  );
}

/** A drain tells the reader where to go on elsewhere; other reasons are the reader's own. */
function throwIfAborted(signal: AbortSignal, resumeFrom: number): void {
  const { reason } = signal;
  if (signal.aborted && reason instanceof DevmeshError && reason.reason === "DRAINING") {
    throw new DevmeshError("DRAINING", reason.message, {
      metadata: { ...reason.metadata, resume_from: String(resumeFrom) },
    });
  }
  signal.throwIfAborted();
}
