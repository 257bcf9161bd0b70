/** Which job is next in memory: delays and concurrency keys, by scans. */
import { rivals } from "./job-placement.ts";
import { type JobRow, specColumns } from "./job-rows.ts";
import type { AcceptInput } from "./job-store.ts";

/** A row, with the columns that no answer shows. */
export type MemoryJobRow = JobRow & {
  readonly queue_expires_at: string | null;
  readonly holder: string;
  readonly retried_holder: string;
  readonly trimmed: boolean;
};

/** The row of a new job, without its first event; `time` is as long from now as it says. */
export function newRow(
  { id, owner, spec, maxAttempts }: AcceptInput,
  time: (plusMs?: number) => string,
): MemoryJobRow {
  const { delayMs, queueTimeoutMs, ...columns } = specColumns(spec);
  return {
    ...{ id, owner, ...columns, max_attempts: maxAttempts },
    ...{ status: "queued", attempt: 0, epoch: 0, runner: "", retried_epoch: 0 },
    ...{ last_seq: 0, attempt_seq: 0, cancel_requested: false, cancel_detail: "" },
    ...{
      cancel_by: "",
      cancel_at: null,
      trimmed: false,
      answer_seq: 0,
      answer: "",
      holder: "",
      retried_holder: "",
    },
    ...{ created_at: time(), started_at: null, ended_at: null, result: null },
    available_at: delayMs === undefined ? null : time(delayMs),
    queue_expires_at: queueTimeoutMs === undefined ? null : time(queueTimeoutMs),
  };
}

/** The queue's side of a store. */
export class MemoryJobQueue {
  readonly #jobs: Map<string, MemoryJobRow>;

  constructor(jobs: Map<string, MemoryJobRow>) {
    this.#jobs = jobs;
  }

  /** Jobs that wait, for whatever reason. */
  queued(): MemoryJobRow[] {
    return [...this.#jobs.values()].filter((row) => row.status === "queued");
  }

  /** Jobs that have a slot of the row's concurrency key. */
  active({ owner, concurrency_key: key }: JobRow): MemoryJobRow[] {
    return [...this.#jobs.values()].filter(
      (row) =>
        row.owner === owner &&
        row.concurrency_key === key &&
        (row.status === "running" || (row.status === "queued" && row.hold === "")),
    );
  }

  /** Lets jobs on whose delay is over. */
  promote(now: string): void {
    const due = this.queued().filter(
      (row) => row.hold === "delay" && String(row.available_at) <= now,
    );
    for (const row of due) {
      const hold = row.concurrency_key === "" ? "" : "key";
      this.#jobs.set(row.id, { ...row, hold, available_at: null });
    }
    for (const row of due) this.fill(row);
  }

  /** Gives free slots of the row's concurrency key to those that wait, in order. */
  fill(of: JobRow): void {
    if (of.concurrency_key === "") return;
    const waiting = this.queued()
      .filter((row) => row.hold === "key" && row.owner === of.owner)
      .filter((row) => row.concurrency_key === of.concurrency_key)
      .sort(inOrder);
    for (const row of waiting) {
      if (this.active(of).length >= row.concurrency_limit) return;
      this.#jobs.set(row.id, { ...row, hold: "" });
    }
  }

  /** How many jobs of the same labels, or of none, are taken before one that may be taken now. */
  ahead({ id, placement }: JobRow): number {
    const same = rivals(placement);
    const queue = this.next().filter((row) => same.includes(row.placement));
    return Math.max(
      0,
      queue.findIndex((row) => row.id === id),
    );
  }

  /** Jobs that may be taken now, in order. */
  next(): MemoryJobRow[] {
    return this.queued()
      .filter((row) => row.hold === "")
      .sort(inOrder);
  }
}

/** The order in which jobs are taken. */
function inOrder(a: JobRow, b: JobRow): number {
  return b.priority - a.priority || (a.id < b.id ? -1 : 1);
}
