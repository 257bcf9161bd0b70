/** Holds one job, as a platform shows it, to what its history promises. */
import { isFinalStatus, type Job, JobStatus } from "@devmesh/sdk/node";
import { type ByteDifference, compareBytes } from "./compare-bytes.ts";
import { EventDigest } from "./event-digest.ts";
import type { JobExpectation, WatchedRun } from "./expectations.ts";
import type { AttemptLog, JobLog } from "./job-log.ts";
import { expectedOutput } from "./work.ts";

/** What was found out about one job. */
export interface JobFinding {
  readonly difference: ByteDifference;
  /** Log bytes that were compared. */
  readonly logBytes: number;
  /** What is wrong, each with what was expected. Empty: nothing. */
  readonly faults: readonly string[];
}

/** One job, read in both ways. */
export interface ShownJob {
  readonly job: Job;
  /** Over REST. */
  readonly listed: JobLog;
  /** Over the stream. */
  readonly streamed: JobLog;
}

/** Verifies an ended job. */
export function verifyJob(
  expected: JobExpectation,
  { job, listed, streamed }: ShownJob,
): JobFinding {
  const faults = [
    ...listed.faults,
    ...streamed.faults.map((fault) => `on the stream: ${fault}`),
    ...outcomeFaults(expected, job),
    ...attemptFaults(expected, job, listed),
    ...resultFaults(job, listed),
    ...digestFaults(job, listed, "REST"),
    ...digestFaults(job, streamed, "the stream"),
    ...expected.watched.flatMap((run) => watchFaults(run, listed)),
  ];
  const whole = job.status === JobStatus.SUCCEEDED || endedByItself(expected, job);
  const differences = [listed, streamed].map((log) => logDifference(expected, log, whole));
  const difference = worst(differences);
  if (difference.lost + difference.doubled + difference.altered > 0) {
    const { lost, doubled, altered } = difference;
    faults.push(
      `the log is not what its program writes: ${lost} bytes lost, ${doubled} doubled, ${altered} altered`,
    );
  }
  const logBytes = listed.attempts.reduce((sum, { bytes }) => sum + bytes, 0);
  return { difference, logBytes, faults };
}

/** True if the result is the program's own end. */
function endedByItself({ work }: JobExpectation, { result }: Job): boolean {
  const { exitCode } = expectedOutput(work);
  return exitCode !== undefined && result?.exitCode === exitCode && result.reason !== "CANCELLED";
}

function outcomeFaults(expected: JobExpectation, job: Job): string[] {
  const { status, result } = job;
  if (!isFinalStatus(status)) return [`expected an end, found ${JobStatus[status]}`];
  if (result?.outcome !== status) {
    return [
      `expected a result with ${JobStatus[status]}, found ${JobStatus[result?.outcome ?? 0]}`,
    ];
  }
  const said = `found ${JobStatus[status]} ${result.reason} ${result.exitCode ?? ""} ${result.message}`;
  const usedUp = result.reason === "RUNNER_LOST" && job.attempt >= expected.maxAttempts;
  if (endedByItself(expected, job) || usedUp) return [];
  if (status === JobStatus.CANCELLED && expected.cancelAsked) return [];
  if (status === JobStatus.FAILED && expected.programKilled) return [];
  if (expected.cancelled) return [`its cancel was taken: expected CANCELLED, ${said}`];
  const { exitCode } = expectedOutput(expected.work);
  return [`expected exit status ${exitCode ?? "none, but a cancel"}, ${said}`];
}

function attemptFaults(expected: JobExpectation, job: Job, log: JobLog): string[] {
  const numbers = log.attempts.map(({ attempt }) => attempt);
  const most = Math.max(job.attempt, ...numbers);
  const faults: string[] = [];
  if (most > expected.maxAttempts) {
    faults.push(`expected ${expected.maxAttempts} attempts at most, found ${most}`);
  }
  if (numbers.some((number, i) => number < (numbers[i - 1] ?? 1))) {
    faults.push(`expected rising attempts, found ${numbers.join(", ")}`);
  }
  return faults;
}

function resultFaults(job: Job, log: JobLog): string[] {
  const last = log.events.at(-1);
  const faults: string[] = [];
  if (last?.seq !== job.lastSeq) {
    faults.push(`expected ${job.lastSeq} as the last number, found ${last?.seq ?? "none"}`);
  }
  if (last?.kind.case === "result" && last.kind.value.outcome !== job.status) {
    faults.push(`expected the last event to say ${JobStatus[job.status]}`);
  }
  return faults;
}

const noLog: Pick<AttemptLog, "sha256" | "bytes"> = {
  sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  bytes: 0,
};

function digestFaults({ result }: Job, log: JobLog, way: string): string[] {
  if (result === undefined || result.logSha256 === "") {
    return result?.outcome === JobStatus.SUCCEEDED
      ? ["expected the log's SHA-256 in the result"]
      : [];
  }
  const { sha256, bytes } = log.attempts.at(-1) ?? noLog;
  if (sha256 === result.logSha256 && BigInt(bytes) === result.logBytes) return [];
  return [
    `expected ${result.logBytes} bytes with SHA-256 ${result.logSha256}, ` +
      `over ${way} there are ${bytes} with ${sha256}`,
  ];
}

function watchFaults({ from, events, sha256 }: WatchedRun, log: JobLog): string[] {
  const digest = new EventDigest();
  for (const event of log.events.slice(from - 1, from - 1 + events)) digest.take(event);
  if (digest.count === events && digest.hex() === sha256) return [];
  return [`a watcher got ${events} events from number ${from} on that differ from what is stored`];
}

/** Only the last attempt can be whole; of each other one the end may be missing. */
function logDifference(expected: JobExpectation, log: JobLog, whole: boolean): ByteDifference {
  const output = expectedOutput(expected.work);
  const sum = { lost: 0, doubled: 0, altered: 0 };
  log.attempts.forEach((attempt, i) => {
    const prefix = !whole || i < log.attempts.length - 1;
    // A shell whose child was killed from outside says so there, in its own words.
    const streams = expected.programKilled ? ["stdout" as const] : (["stdout", "stderr"] as const);
    for (const stream of streams) {
      const { lost, doubled, altered } = compareBytes(output[stream], attempt[stream], { prefix });
      sum.lost += lost;
      sum.doubled += doubled;
      sum.altered += altered;
    }
  });
  if (whole && log.attempts.length === 0) sum.lost += output.stdout.length + output.stderr.length;
  return sum;
}

function worst(differences: readonly ByteDifference[]): ByteDifference {
  const most = (key: keyof ByteDifference) => Math.max(...differences.map((one) => one[key]));
  return { lost: most("lost"), doubled: most("doubled"), altered: most("altered") };
}
