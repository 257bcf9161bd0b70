/**
 * How a job leaves a runner's hands or the queue: finished, tried again,
 * released, swept. The rules are the same for every store; a store brings
 * reads and guarded writes. Cancelling is in `job-cancels.ts`; accepting,
 * claiming, renewing and appending are the stores' own.
 */
import { create } from "@bufbuild/protobuf";
import { type JobEvent, JobEventSchema } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { type JobResult, JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, invalidField, notFound } from "@devmesh/mesh/errors";
import type { Random } from "@devmesh/mesh/runtime";
import { digestLog } from "./job-digest.ts";
import { cancelReceipt } from "./job-receipt.ts";
import { backoffMs, isTriedAgain } from "./job-retries.ts";
import {
  type Hold,
  isFinal,
  type JobRow,
  type StatusName,
  statusName,
  toJob,
  toSpec,
} from "./job-rows.ts";
import type { CancelInput, LeaseRef, ReadLimits, SweptJob } from "./job-store.ts";

/**
 * A change of a job's row with the event that tells of it, number `last_seq` +
 * 1. A lease on the job ends with it; its concurrency key is filled after it.
 */
export interface Transition {
  readonly status: StatusName;
  readonly epoch: number;
  readonly attempt: number;
  /** What keeps the job, queued again, from being taken. */
  readonly hold: Hold;
  /** How long a `delay` lasts. */
  readonly delayMs: number;
  /** See JobRow. */
  readonly retriedEpoch: number;
  /** The cancel that ends a queued job, with its time by the store's clock. */
  readonly cancel?: CancelInput & { readonly at: Date };
  /** A `result` ends the job. */
  readonly event: Pick<JobEvent, "kind">;
  /** Holds only while the lease is past its end. */
  readonly onlyExpired: boolean;
}

/** What the rules need of a store. */
export interface EndingRows {
  readonly random: Random;
  /** The store's clock. */
  now(): Promise<Date>;
  find(id: string): Promise<JobRow | undefined>;
  /** Rows whose lease ran out. */
  expired(): Promise<JobRow[]>;
  /** Rows that waited longer for their first start than they may. */
  queueExpired(): Promise<JobRow[]>;
  readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]>;
  /**
   * Makes a transition in one transaction and answers the new row; undefined,
   * and nothing done, unless epoch, status, last number and cancel mark are
   * still as in `row`.
   */
  move(row: JobRow, to: Transition): Promise<JobRow | undefined>;
  /** Marks a running job as to be cancelled; undefined unless it runs under the row's epoch, unmarked. */
  markCancel(row: JobRow, input: CancelInput): Promise<JobRow | undefined>;
}

/** The number after the last event of a row. */
export function nextSeq(row: JobRow): number {
  return Number(row.last_seq) + 1;
}

/** Throws NOT_FOUND or FENCED unless the lease is the one that runs the job. */
export function checkHeld(row: JobRow | undefined, lease: LeaseRef): asserts row is JobRow {
  if (row === undefined) throw notFound("job", lease.jobId);
  if (row.status !== "running" || Number(row.epoch) !== lease.epoch) throw fenced(lease);
}

/** The refusal of a write under a lease that has ended. */
export function fenced({ jobId, epoch }: LeaseRef): DevmeshError {
  return new DevmeshError("FENCED", `lease ${epoch} of job ${jobId} has ended: stop the work`, {
    metadata: { job_id: jobId, epoch: String(epoch) },
  });
}

/** The refusal of an event whose number does not continue the log. */
export function sequenceGap(jobId: string, got: number, expected: number): DevmeshError {
  return new DevmeshError(
    "SEQUENCE_GAP",
    `event ${got} of job ${jobId} does not continue its log: the next number is ${expected}`,
    { metadata: { job_id: jobId, expected_seq: String(expected) } },
  );
}

/** See JobStore.finish. */
export async function finish(
  rows: EndingRows,
  lease: LeaseRef,
  seq: number,
  result: JobResult,
): Promise<Job> {
  const status = statusName(result.outcome);
  if (status === undefined || !isFinal(status)) {
    throw invalidField("result.outcome", "must be SUCCEEDED, FAILED or CANCELLED");
  }
  for (;;) {
    const row = await rows.find(lease.jobId);
    if (row && hasEnded(row, lease)) return toJob(row);
    checkHeld(row, lease);
    if (seq !== nextSeq(row)) throw sequenceGap(lease.jobId, seq, nextSeq(row));
    const moved = await rows.move(row, finished(rows, row, status, result));
    if (moved) return toJob(moved);
  }
}

/** True if it was this lease's end that ended the job, or that led to another attempt. */
function hasEnded(row: JobRow, { epoch }: LeaseRef): boolean {
  // Only the lease that ended the job still has its epoch.
  const endedIt = isFinal(row.status) && Number(row.epoch) === epoch;
  return endedIt || (epoch > 0 && Number(row.retried_epoch) === epoch);
}

function finished(
  rows: EndingRows,
  row: JobRow,
  status: StatusName,
  result: JobResult,
): Transition {
  if (isTriedAgain(row, result.outcome)) {
    const said = result.message === "" ? "" : `: ${result.message}`;
    const why = `attempt ${row.attempt} failed (${result.reason || "no reason given"})${said}`;
    return { ...triedAgain(rows, row, why), retriedEpoch: Number(row.epoch) };
  }
  const told =
    status === "cancelled" && result.message === ""
      ? { ...result, message: row.cancel_detail || "cancelled" }
      : result;
  return ended(row, status, Number(row.epoch), told);
}

/** See JobStore.release. */
export async function release(rows: EndingRows, lease: LeaseRef, detail: string): Promise<void> {
  for (;;) {
    const row = await rows.find(lease.jobId);
    checkHeld(row, lease);
    // A job that waits again keeps its slot of a concurrency key.
    const to = row.cancel_requested
      ? await closed(rows, row, "cancelled", "CANCELLED", row.cancel_detail || "cancelled")
      : queuedAgain(row, row.attempt - 1, detail);
    if (await rows.move(row, to)) return;
  }
}

/** See JobStore.sweep: one transaction for each job. A job that changes meanwhile is left alone. */
export async function sweep(rows: EndingRows): Promise<SweptJob[]> {
  const swept: SweptJob[] = [];
  for (const row of await rows.expired()) {
    const { id: jobId, runner: runnerId } = row;
    const { outcome, to } = await lost(rows, row);
    if (await rows.move(row, { ...to, onlyExpired: true }))
      swept.push({ jobId, runnerId, outcome });
  }
  for (const row of await rows.queueExpired()) {
    const message = "it was not started within its queue timeout";
    const to = await closed(rows, row, "failed", "QUEUE_TIMEOUT", message);
    if (await rows.move(row, to)) {
      swept.push({ jobId: row.id, runnerId: "", outcome: "timed_out" });
    }
  }
  return swept;
}

async function lost(
  rows: EndingRows,
  row: JobRow,
): Promise<{ outcome: SweptJob["outcome"]; to: Transition }> {
  const why = `runner ${row.runner} was lost`;
  if (row.cancel_requested) {
    const message = row.cancel_detail || why;
    return { outcome: "cancelled", to: await closed(rows, row, "cancelled", "CANCELLED", message) };
  }
  if (row.attempt < row.max_attempts) {
    return { outcome: "requeued", to: triedAgain(rows, row, why) };
  }
  const message = `${why} in the last attempt`;
  return { outcome: "failed", to: await closed(rows, row, "failed", "RUNNER_LOST", message) };
}

/** An end that no runner reports: a new epoch fences the one that held the job. */
export async function closed(
  rows: EndingRows,
  row: JobRow,
  status: "failed" | "cancelled",
  reason: string,
  message: string,
): Promise<Transition> {
  const outcome = status === "failed" ? JobStatus.FAILED : JobStatus.CANCELLED;
  const log = await digestLog(rows, row);
  const result = create(JobResultSchema, { outcome, reason, message, ...log });
  return ended(row, status, Number(row.epoch) + 1, result);
}

function ended(row: JobRow, status: StatusName, epoch: number, result: JobResult): Transition {
  const value = { ...result, lastSeq: nextSeq(row), cancel: cancelReceipt(row, result.cancel) };
  const event = create(JobEventSchema, { kind: { case: "result", value } });
  return { ...unchanged(row), status, epoch, hold: "", event };
}

function triedAgain(rows: EndingRows, row: JobRow, why: string): Transition {
  const delayMs = backoffMs(toSpec(row).retry, row.attempt, rows.random);
  const next = `attempt ${row.attempt + 1} of ${row.max_attempts}`;
  const wait = delayMs === 0 ? "at once" : `after ${delayMs} ms`;
  const free = row.concurrency_key === "" ? "" : "key";
  return {
    ...queuedAgain(row, row.attempt, `${why}; ${next} starts ${wait}`),
    hold: delayMs === 0 ? free : "delay",
    delayMs,
  };
}

function queuedAgain(row: JobRow, attempt: number, detail: string): Transition {
  const value = { status: JobStatus.QUEUED, attempt, detail, runner: row.runner };
  const event = create(JobEventSchema, { kind: { case: "status", value } });
  const epoch = Number(row.epoch) + 1;
  return { ...unchanged(row), status: "queued", epoch, attempt, hold: "", event };
}

function unchanged(row: JobRow) {
  const { attempt } = row;
  return { attempt, delayMs: 0, retriedEpoch: Number(row.retried_epoch), onlyExpired: false };
}
