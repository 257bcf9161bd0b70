/**
 * How a job leaves a runner's hands: finished, released, cancelled or swept.
 * The rules are the same for every store; a store brings reads and guarded
 * writes. Accepting, claiming, renewing and appending are the stores' own.
 */
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import {
  type Job,
  type JobEvent,
  JobEventSchema,
  type JobResult,
  JobResultSchema,
  JobStatus,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError, invalidField, notFound } from "@devmesh/mesh/errors";
import { isFinal, type JobRow, type StatusName, statusName, toJob } from "./job-rows.ts";
import type { LeaseRef, ReadLimits, SweptJob } from "./job-store.ts";

/** A change of a job's row with the event that tells of it, number `last_seq` + 1. */
export interface Transition {
  readonly status: StatusName;
  readonly epoch: number;
  readonly attempt: number;
  readonly cancelRequested: boolean;
  /** A `result` ends the job. */
  readonly event: Pick<JobEvent, "kind">;
  /** Holds only while the lease is past its end. */
  readonly onlyExpired: boolean;
}

/** What the rules need of a store. */
export interface EndingRows {
  find(id: string): Promise<JobRow | undefined>;
  /** Rows whose lease ran out. */
  expired(): Promise<JobRow[]>;
  readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]>;
  /**
   * Makes a transition in one transaction and answers the new row; undefined,
   * and nothing done, unless epoch, status, last number and cancel mark are
   * still as in `row`.
   */
  move(row: JobRow, to: Transition): Promise<JobRow | undefined>;
  /** Marks a running job as to be cancelled; undefined unless it runs under the row's epoch, unmarked. */
  markCancel(row: JobRow, detail: string): Promise<JobRow | undefined>;
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
    metadata: { jobId, epoch: String(epoch) },
  });
}

/** The refusal of an event whose number does not continue the log. */
export function sequenceGap(jobId: string, got: number, expected: number): DevmeshError {
  return new DevmeshError(
    "SEQUENCE_GAP",
    `event ${got} of job ${jobId} does not continue its log: the next number is ${expected}`,
    { metadata: { jobId, got: String(got), expected: String(expected) } },
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
    // Only the lease that ended the job still has its epoch.
    if (row && isFinal(row.status) && Number(row.epoch) === lease.epoch) return toJob(row);
    checkHeld(row, lease);
    if (seq !== nextSeq(row)) throw sequenceGap(lease.jobId, seq, nextSeq(row));
    const told =
      status === "cancelled" && result.message === ""
        ? { ...result, message: row.cancel_detail || "cancelled" }
        : result;
    const moved = await rows.move(row, ended(row, status, lease.epoch, told));
    if (moved) return toJob(moved);
  }
}

/** See JobStore.release. */
export async function release(rows: EndingRows, lease: LeaseRef, detail: string): Promise<void> {
  for (;;) {
    const row = await rows.find(lease.jobId);
    checkHeld(row, lease);
    const to = row.cancel_requested
      ? await closed(rows, row, "cancelled", "CANCELLED", row.cancel_detail || "cancelled")
      : queuedAgain(row, row.attempt - 1, detail);
    if (await rows.move(row, to)) return;
  }
}

/** See JobStore.requestCancel. */
export async function requestCancel(rows: EndingRows, id: string, detail: string): Promise<Job> {
  for (;;) {
    const row = await rows.find(id);
    if (row === undefined) throw notFound("job", id);
    if (row.status === "cancelled" || (row.status === "running" && row.cancel_requested)) {
      return toJob(row);
    }
    if (isFinal(row.status)) {
      throw new DevmeshError("WRONG_STATE", `job ${id} has ${row.status} already`, {
        metadata: { jobId: id, status: row.status },
      });
    }
    const changed =
      row.status === "running"
        ? await rows.markCancel(row, detail)
        : await rows.move(row, {
            ...(await closed(
              rows,
              row,
              "cancelled",
              "CANCELLED",
              detail || "cancelled in the queue",
            )),
            cancelRequested: true,
          });
    if (changed) return toJob(changed);
  }
}

/** See JobStore.sweep: one transaction for each job. A job that changes meanwhile is left alone. */
export async function sweep(rows: EndingRows): Promise<SweptJob[]> {
  const swept: SweptJob[] = [];
  for (const row of await rows.expired()) {
    const { id: jobId, runner: runnerId } = row;
    const lost = `runner ${runnerId} was lost`;
    const outcome = row.cancel_requested
      ? "cancelled"
      : row.attempt < row.max_attempts
        ? "requeued"
        : "failed";
    const to =
      outcome === "requeued"
        ? queuedAgain(row, row.attempt, lost)
        : outcome === "failed"
          ? await closed(rows, row, outcome, "RUNNER_LOST", `${lost} in the last attempt`)
          : await closed(rows, row, outcome, "CANCELLED", row.cancel_detail || lost);
    if (await rows.move(row, { ...to, onlyExpired: true }))
      swept.push({ jobId, runnerId, outcome });
  }
  return swept;
}

function ended(row: JobRow, status: StatusName, epoch: number, result: JobResult): Transition {
  const event = create(JobEventSchema, { kind: { case: "result", value: result } });
  const { attempt } = row;
  const cancelRequested = Boolean(row.cancel_requested);
  return { status, epoch, attempt, cancelRequested, event, onlyExpired: false };
}

/** An end that no runner reports: a new epoch fences the one that held the job. */
async function closed(
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

function queuedAgain(row: JobRow, attempt: number, detail: string): Transition {
  const value = { status: JobStatus.QUEUED, attempt, detail, runner: row.runner };
  const event = create(JobEventSchema, { kind: { case: "status", value } });
  return {
    status: "queued",
    epoch: Number(row.epoch) + 1,
    attempt,
    cancelRequested: false,
    event,
    onlyExpired: false,
  };
}

/** SHA-256 and size of the log of the last attempt, as a runner reports them. */
async function digestLog(
  rows: EndingRows,
  row: JobRow,
): Promise<{ logSha256: string; logBytes: bigint }> {
  const hash = createHash("sha256");
  let bytes = 0;
  let from = Number(row.attempt_seq) + 1;
  while (from <= Number(row.last_seq)) {
    const events = await rows.readEvents(row.id, from, { maxEvents: 1000, maxBytes: 1 << 20 });
    for (const { kind, seq } of events) {
      from = seq + 1;
      if (kind.case !== "log") continue;
      hash.update(kind.value.data);
      bytes += kind.value.data.byteLength;
    }
    if (events.length === 0) break;
    // A long log does not keep other work waiting.
    await nextTurn();
  }
  return { logSha256: hash.digest("hex"), logBytes: BigInt(bytes) };
}
