/** When a job is started again, and how long after: the rules of `RetryPolicy`. */
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { RetryPolicy } from "@devmesh/gen/devmesh/api/v1/job_limits_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import type { Random } from "@devmesh/mesh/runtime";
import { type JobRow, toSpec } from "./job-rows.ts";

/** The wait's bound after the first attempt, where the policy names none. */
const defaultMinMs = 1_000;

/** The wait's bound after any attempt, where the policy names none. */
const defaultMaxMs = 5 * 60_000;

/**
 * The wait before the next attempt after attempt number `attempt` (from 1), in
 * whole milliseconds: drawn evenly from 0 to the bound, which doubles with each
 * attempt up to the policy's longest.
 */
export function backoffMs(
  policy: RetryPolicy | undefined,
  attempt: number,
  random: Random,
): number {
  const max = given(policy?.maxBackoff, defaultMaxMs);
  const bound = Math.min(max, given(policy?.minBackoff, defaultMinMs) * 2 ** (attempt - 1));
  return Math.floor(random.next() * bound);
}

/**
 * True if a running job that ended with this outcome is to be tried again: its
 * policy says so, attempts are left, and nobody wants it cancelled.
 */
export function isTriedAgain(row: JobRow, outcome: JobStatus): boolean {
  return (
    outcome === JobStatus.FAILED &&
    !row.cancel_requested &&
    row.attempt < row.max_attempts &&
    toSpec(row).retry?.failures === true
  );
}

function given(duration: Duration | undefined, defaultMs: number): number {
  return (duration && durationMs(duration)) || defaultMs;
}
