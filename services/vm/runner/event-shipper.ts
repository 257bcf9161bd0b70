/**
 * Numbers a job's events without a gap and ships them in batches, one batch at
 * a time. What waits to be shipped is bounded: beyond that `log` and `note`
 * wait, and so does the program.
 */
import { create } from "@bufbuild/protobuf";
import {
  type JobEvent,
  JobEventSchema,
  JobLogSchema,
  type JobNote,
  type LogStream,
} from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { type Note, toJobNote } from "./job-notes.ts";
import { untilAnswered } from "./until-answered.ts";

/** The largest log event, in bytes: the contract's bound. */
const maxLogBytes = 64 * 1024;

/** What may wait to be shipped, in bytes. */
const maxQueuedBytes = 8 * 1024 * 1024;

/** The largest batch. One event goes alone where it is larger. */
const maxBatch = { events: 1_000, bytes: 1024 * 1024 };

/** What a shipper needs. */
export interface EventShipperOptions {
  /** The number of the first event. */
  readonly firstSeq: number;
  /** Stores events; safe to repeat. */
  readonly append: (events: readonly JobEvent[]) => Promise<void>;
  readonly clock: Clock;
  /** Aborts when the lease is lost: nothing is shipped any more. */
  readonly signal: AbortSignal;
  /** Called once, when shipping has failed for good: nobody may be writing to notice. */
  readonly onFailure?: (error: unknown) => void;
}

interface QueuedLog {
  readonly seq: number;
  readonly stream: LogStream;
  readonly pieces: Buffer[];
  bytes: number;
}

interface QueuedNote {
  readonly seq: number;
  readonly note: JobNote;
  readonly bytes: number;
}

/** Ships one attempt's events. */
export class EventShipper {
  readonly #options: EventShipperOptions;
  #queue: (QueuedLog | QueuedNote)[] = [];
  #queuedBytes = 0;
  #nextSeq: number;
  #sending: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #waiting: (() => void)[] = [];

  constructor(options: EventShipperOptions) {
    this.#options = options;
    this.#nextSeq = options.firstSeq;
  }

  /** The number that the next event gets. */
  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** Takes output; waits while too much is unshipped. Throws what shipping threw for good. */
  async log(stream: LogStream, data: Uint8Array): Promise<void> {
    this.#throwFailure();
    for (let at = 0; at < data.length; at += maxLogBytes) {
      this.#addLog(stream, data.subarray(at, at + maxLogBytes));
    }
    await this.#room();
  }

  /** Takes a note, cut to the contract's bounds, and answers its number. Waits and throws as `log`. */
  async note(note: Note): Promise<number> {
    this.#throwFailure();
    const seq = this.#nextSeq;
    const queued = { seq, ...toJobNote(note) };
    this.#nextSeq += 1;
    this.#queue.push(queued);
    this.#queuedBytes += queued.bytes;
    await this.#room();
    return seq;
  }

  /** Waits until everything is stored. Throws what shipping threw for good. */
  async flush(): Promise<void> {
    this.#kick();
    while (this.#sending !== undefined) await this.#sending;
    this.#throwFailure();
  }

  /** Joins output to the last queued event of the same stream while it fits. */
  #addLog(stream: LogStream, data: Uint8Array): void {
    // Copied: the chunk's memory belongs to the reader.
    const piece = Buffer.from(data);
    const last = this.#queue.at(-1);
    this.#queuedBytes += piece.length;
    const joins =
      last !== undefined &&
      "pieces" in last &&
      last.stream === stream &&
      last.bytes + piece.length <= maxLogBytes;
    if (joins) {
      last.pieces.push(piece);
      last.bytes += piece.length;
      return;
    }
    this.#queue.push({ seq: this.#nextSeq, stream, pieces: [piece], bytes: piece.length });
    this.#nextSeq += 1;
  }

  async #room(): Promise<void> {
    this.#kick();
    while (this.#queuedBytes > maxQueuedBytes && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#throwFailure();
  }

  #kick(): void {
    if (this.#sending !== undefined || this.#queue.length === 0) return;
    this.#sending = this.#send();
  }

  /** Between its last look at the queue and its end nothing else runs: no event is left lying. */
  async #send(): Promise<void> {
    const { append, clock, signal } = this.#options;
    try {
      while (this.#queue.length > 0) {
        const batch = this.#takeBatch().map(toEvent);
        await untilAnswered(() => append(batch), { clock, signal });
        this.#wake();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#sending = undefined;
    }
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#wake();
    this.#options.onFailure?.(error);
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #takeBatch(): (QueuedLog | QueuedNote)[] {
    let bytes = 0;
    let count = 0;
    for (const queued of this.#queue) {
      if (count > 0 && (bytes + queued.bytes > maxBatch.bytes || count === maxBatch.events)) break;
      bytes += queued.bytes;
      count += 1;
    }
    this.#queuedBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

function toEvent(queued: QueuedLog | QueuedNote): JobEvent {
  const { seq } = queued;
  if ("note" in queued) {
    return create(JobEventSchema, { seq, kind: { case: "note", value: queued.note } });
  }
  const { stream, pieces } = queued;
  const data = pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
  const value = create(JobLogSchema, { stream, data });
  return create(JobEventSchema, { seq, kind: { case: "log", value } });
}
