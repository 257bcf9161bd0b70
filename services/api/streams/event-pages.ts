/**
 * Pages of jobs' events as their watchers read them: watchers at the same
 * number share one read of the store. Bounded in bytes; a job's pages are
 * forgotten with its last watcher.
 */
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { JobStore } from "../jobs/job-store.ts";

/** What a page holds at most: a reader that stops reading keeps no more than this. */
const pageLimits = { maxEvents: 500, maxBytes: 128 << 10 };

/** What an event costs beside its output, in bytes; roughly. */
const eventBytes = 256;

/** What the pages are read from, and how many are kept. */
export interface EventPagesOptions {
  readonly store: Pick<JobStore, "readEvents">;
  /** All pages together, in bytes. Default: 16 MiB. */
  readonly maxBytes?: number;
}

type Events = readonly JobEvent[];

/** The pages of one job. */
interface JobPages {
  watchers: number;
  /** By the number that they start at. */
  readonly kept: Map<number, Events>;
  readonly underWay: Map<number, Promise<Events>>;
}

/** Reads pages for many. */
export class EventPages {
  readonly #store: Pick<JobStore, "readEvents">;
  readonly #maxBytes: number;
  readonly #jobs = new Map<string, JobPages>();
  /** What is kept, the oldest first. */
  readonly #order = new Map<Events, { readonly pages: JobPages; readonly from: number }>();
  #bytes = 0;

  constructor({ store, maxBytes = 16 << 20 }: EventPagesOptions) {
    this.#store = store;
    this.#maxBytes = maxBytes;
  }

  /** The bytes that are kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Joins the watchers of a job. */
  open(jobId: string): PageReader {
    const pages: JobPages = this.#jobs.get(jobId) ?? {
      watchers: 0,
      kept: new Map(),
      underWay: new Map(),
    };
    this.#jobs.set(jobId, pages);
    pages.watchers += 1;
    return {
      read: (from) => this.#read(jobId, pages, from),
      [Symbol.dispose]: () => {
        pages.watchers -= 1;
        if (pages.watchers > 0) return;
        this.#jobs.delete(jobId);
        for (const events of pages.kept.values()) this.#forget(events);
      },
    };
  }

  async #read(jobId: string, pages: JobPages, from: number): Promise<Events> {
    const kept = pages.kept.get(from);
    if (kept !== undefined) return kept;
    const earlier = pages.underWay.get(from);
    if (earlier !== undefined) {
      const events = await earlier;
      if (events.length > 0) return events;
    }
    // A read that began before this call may lack what the caller was woken for:
    // its "nothing" is asked again, by all who waited for it together.
    return pages.underWay.get(from) ?? this.#start(jobId, pages, from);
  }

  #start(jobId: string, pages: JobPages, from: number): Promise<Events> {
    const reading = (async () => {
      try {
        const events = await this.#store.readEvents(jobId, from, pageLimits);
        // A single watcher never reads a page twice.
        if (events.length > 0 && pages.watchers > 1) this.#keep(pages, from, events);
        return events;
      } finally {
        pages.underWay.delete(from);
      }
    })();
    pages.underWay.set(from, reading);
    return reading;
  }

  #keep(pages: JobPages, from: number, events: Events): void {
    pages.kept.set(from, events);
    this.#order.set(events, { pages, from });
    this.#bytes += sizeOf(events);
    for (const oldest of this.#order.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#forget(oldest);
    }
  }

  #forget(events: Events): void {
    const place = this.#order.get(events);
    if (place === undefined) return;
    this.#order.delete(events);
    place.pages.kept.delete(place.from);
    this.#bytes -= sizeOf(events);
  }
}

/** One watcher's way to the pages of its job; leaves when it is disposed of. */
export interface PageReader {
  /** Events from number `from` on: at least one if the store has any at the time of the call. */
  read(from: number): Promise<Events>;
  [Symbol.dispose](): void;
}

function sizeOf(events: Events): number {
  let bytes = 0;
  for (const { kind } of events) {
    bytes += eventBytes + (kind.case === "log" ? kind.value.data.byteLength : 0);
  }
  return bytes;
}
