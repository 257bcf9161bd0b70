/**
 * Numbers a job's events without a gap and ships them in batches. What is not
 * shipped yet is bounded: beyond that `push` waits, and so does the program.
 */
import { create } from "@bufbuild/protobuf";
import {
  type JobEvent,
  JobEventSchema,
  JobLogSchema,
  JobNoteSchema,
  type LogStream,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError, isRetryable, toDevmeshError } from "@devmesh/mesh/errors";
import type { Clock } from "@devmesh/mesh/runtime";

/** The largest log event, in bytes: the contract's bound. */
const maxLogBytes = 64 * 1024;

/** What may wait to be shipped, in bytes. */
const maxPendingBytes = 8 * 1024 * 1024;

/** The largest batch. */
const maxBatch = { events: 1_000, bytes: 1024 * 1024 };

/** A note as the runner writes it. */
export interface Note {
  readonly level: "info" | "warn" | "error";
  readonly topic: string;
  readonly message: string;
  readonly payload?: Record<string, unknown>;
}

/** What a shipper needs. */
export interface EventShipperOptions {
  /** The number of the first event. */
  readonly firstSeq: number;
  /** Stores events; safe to repeat. Throws DevmeshErrors. */
  readonly append: (events: readonly JobEvent[]) => Promise<void>;
  readonly clock: Clock;
  /** Aborts when the lease is lost: nothing is shipped any more. */
  readonly signal: AbortSignal;
}

/** Ships one attempt's events. */
export class EventShipper {
  readonly #append: EventShipperOptions["append"];
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #queue: JobEvent[] = [];
  #queuedBytes = 0;
  #nextSeq: number;
  #sending: Promise<void> | undefined;
  #failure: unknown;
  #waiting: (() => void)[] = [];

  constructor({ firstSeq, append, clock, signal }: EventShipperOptions) {
    this.#nextSeq = firstSeq;
    this.#append = append;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** The number that the next event gets. */
  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** Takes output; waits while too much is unshipped. Throws what shipping threw for good. */
  async log(stream: LogStream, data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += maxLogBytes) {
      this.#addLog(stream, data.subarray(at, at + maxLogBytes));
    }
    this.#kick();
    while (this.#queuedBytes > maxPendingBytes && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#throwFailure();
  }

  /** Takes a note. */
  note({ level, topic, message, payload }: Note): void {
    const value = create(JobNoteSchema, {
      level,
      topic,
      message: message.slice(0, 1000),
      ...(payload !== undefined && { payload: JSON.parse(JSON.stringify(payload)) }),
    });
    this.#add({ case: "note", value }, message.length);
    this.#kick();
  }

  /** Waits until everything is stored. Throws what shipping threw for good. */
  async flush(): Promise<void> {
    while (this.#queue.length > 0 && this.#failure === undefined) {
      this.#kick();
      await this.#sending;
    }
    await this.#sending;
    this.#throwFailure();
  }

  /** Joins output to the last unshipped event of the same stream while it fits. */
  #addLog(stream: LogStream, data: Uint8Array): void {
    const last = this.#queue.at(-1)?.kind;
    if (last?.case === "log" && last.value.stream === stream) {
      const joined = last.value.data.length + data.length;
      if (joined <= maxLogBytes) {
        last.value.data = Buffer.concat([last.value.data, data]);
        this.#queuedBytes += data.length;
        return;
      }
    }
    // The chunk is copied: its memory belongs to the reader.
    const value = create(JobLogSchema, { stream, data: Buffer.from(data) });
    this.#add({ case: "log", value }, data.length);
  }

  #add(kind: JobEvent["kind"], bytes: number): void {
    this.#queue.push(create(JobEventSchema, { seq: this.#nextSeq, kind }));
    this.#nextSeq += 1;
    this.#queuedBytes += bytes;
  }

  #kick(): void {
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
  }

  async #send(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const batch = this.#takeBatch();
        await this.#appendUntilStored(batch);
        for (const wake of this.#waiting.splice(0)) wake();
      }
    } catch (error) {
      this.#failure = error;
      for (const wake of this.#waiting.splice(0)) wake();
    }
  }

  #takeBatch(): JobEvent[] {
    let bytes = 0;
    let count = 0;
    for (const event of this.#queue) {
      bytes += sizeOf(event);
      if (count > 0 && (bytes > maxBatch.bytes || count === maxBatch.events)) break;
      count += 1;
    }
    const batch = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    for (const event of batch) this.#queuedBytes -= sizeOf(event);
    return batch;
  }

  /** A backend that is away is waited for as long as the lease is not known to be lost. */
  async #appendUntilStored(batch: readonly JobEvent[]): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (this.#signal.aborted) {
        throw new DevmeshError("FENCED", "the lease is lost", { cause: this.#signal.reason });
      }
      try {
        await this.#append(batch);
        return;
      } catch (error) {
        if (!isRetryable(toDevmeshError(error).reason)) throw error;
        // An abort is seen at the top of the loop.
        await this.#clock.sleep(Math.min(2_000, 50 * 2 ** attempt), this.#signal).catch(() => {});
      }
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function sizeOf({ kind }: JobEvent): number {
  if (kind.case === "log") return kind.value.data.length;
  return kind.case === "note" ? kind.value.message.length : 0;
}
