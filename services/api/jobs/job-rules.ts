/**
 * Small rules that every store shares: keys, claims, appends, lists. How a
 * job leaves a runner's hands is left to `job-endings.ts`.
 */
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import type { JobEvent, JobStatusChange } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, invalidField } from "@devmesh/mesh/errors";
import { nextSeq, sequenceGap } from "./job-endings.ts";
import {
  type EventBody,
  eventBody,
  type JobRow,
  jobTypes,
  type StatusName,
  statusName,
  statusNames,
  toJob,
} from "./job-rows.ts";
import type { ClaimedJob, KeyInput, LeaseRef, ListQuery } from "./job-store.ts";

/** The first event of every job. */
export const accepted: EventBody = statusBody({ status: JobStatus.QUEUED });

/** The event of a claim, of the row after it. */
export function running({ attempt, runner, epoch }: JobRow): EventBody {
  return statusBody({ status: JobStatus.RUNNING, attempt, runner, epoch: Number(epoch) });
}

/** The event that stands for all before the end of a job whose log was kept for `keptMs`. */
export function trimmed(logBytes: number, keptMs: number): EventBody {
  const detail = trimDetail(keptMs);
  const $typeName = "devmesh.api.v1.JobTrim";
  const value = { $typeName, firstSeq: 1, logBytes: BigInt(logBytes), detail } as const;
  return eventBody({ kind: { case: "trim", value } });
}

/** Why events are gone that were kept for `keptMs`. */
export function trimDetail(keptMs: number): string {
  const days = keptMs / (24 * 60 * 60 * 1000);
  return `logs are kept for ${Number(days.toFixed(2))} days after the end`;
}

function statusBody(change: Partial<JobStatusChange> & Pick<JobStatusChange, "status">): EventBody {
  const value: JobStatusChange = {
    $typeName: "devmesh.api.v1.JobStatusChange",
    attempt: 0,
    detail: "",
    runner: "",
    epoch: 0,
    ...change,
  };
  return eventBody({ kind: { case: "status", value } });
}

/** Throws KEY_REUSED unless the key made this job with the same request. */
export function checkKey(key: KeyInput, fingerprint: string, jobId: string): void {
  if (key.fingerprint === fingerprint) return;
  throw new DevmeshError(
    "KEY_REUSED",
    `the idempotency key ${JSON.stringify(key.value)} made job ${jobId} of another request: repeat that request, or take a new key`,
    { metadata: { key: key.value, job_id: jobId } },
  );
}

/** The lease of a row that was just claimed. */
export function toClaimed(row: JobRow): ClaimedJob {
  return { job: toJob(row), epoch: Number(row.epoch), nextSeq: nextSeq(row) };
}

/** The strength of a runner as the queue's indexes know it. */
export function strength(strongest: Isolation): 1 | 2 | 3 | 4 {
  if (strongest >= Isolation.VM) return 4;
  if (strongest >= Isolation.GVISOR) return 3;
  return strongest >= Isolation.CONTAINER ? 2 : 1;
}

/**
 * Throws INVALID_FIELD unless all events are logs and notes (status and result
 * are the store's to write), SEQUENCE_GAP unless they are numbered one by one.
 */
export function checkBatch({ jobId }: LeaseRef, events: readonly JobEvent[]): void {
  let expected = events[0]?.seq ?? 0;
  for (const { seq, kind } of events) {
    if (kind.case !== "log" && kind.case !== "note") {
      throw invalidField("events.kind", "a runner appends logs and notes only");
    }
    if (seq !== expected) throw sequenceGap(jobId, seq, expected);
    expected += 1;
  }
}

/**
 * The events of a checked batch that are not stored yet. Throws SEQUENCE_GAP
 * for one that starts beyond the end, or before the attempt.
 */
export function newEvents<E extends { seq: number }>(row: JobRow, events: readonly E[]): E[] {
  const first = events[0]?.seq ?? nextSeq(row);
  if (first > nextSeq(row) || first <= Number(row.attempt_seq)) {
    throw sequenceGap(row.id, first, nextSeq(row));
  }
  return events.slice(nextSeq(row) - first);
}

/** Every pair of type and status that a query asks for; undefined if it asks for all jobs. */
export function listCombinations(
  query: ListQuery,
): { type: string; status: StatusName }[] | undefined {
  const { type: only, statuses: wantedStatuses, owner } = query;
  if (only === "" && wantedStatuses.length === 0 && owner === undefined) return undefined;
  const types = jobTypes.filter((type) => only === "" || only === type);
  const wanted = new Set(wantedStatuses.map(statusName));
  const statuses = statusNames.filter((name) => wanted.size === 0 || wanted.has(name));
  return types.flatMap((type) => statuses.map((status) => ({ type, status })));
}
