/**
 * Holds a platform to a history of what it has acknowledged. Knows neither how
 * the history came about nor what was killed.
 */
import { isFinalStatus, JobStatus } from "@devmesh/sdk/node";
import { type Expectations, expectationsOf, type JobExpectation } from "./expectations.ts";
import { type HistoryEntry, tagLabel } from "./history.ts";
import { readLog } from "./job-log.ts";
import type { JobReader } from "./job-reader.ts";
import { verifyJob } from "./verify-job.ts";

/** Something that does not hold. */
export interface Problem {
  /** The job; the key or tag where there is none. */
  readonly jobId: string;
  /** What was expected, and what was found. */
  readonly what: string;
}

/** What the verifier has found. */
export interface Verdict {
  /** Acknowledged jobs, each counted once. */
  readonly jobs: number;
  /** Answers that acknowledged a job, replays included. */
  readonly acknowledged: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Starts in all. */
  readonly attempts: number;
  /** Acknowledged jobs that are not there. */
  readonly lost: number;
  /** Acknowledged jobs that have not ended. */
  readonly unfinished: number;
  /** Jobs beyond the one that their key may make. */
  readonly doubledKeys: number;
  readonly logBytes: number;
  readonly logBytesLost: number;
  readonly logBytesDoubled: number;
  readonly logBytesAltered: number;
  /** Writes under a lost lease that were refused. */
  readonly fencedWrites: number;
  /** Every sandbox that the jobs' notes name. */
  readonly sandboxes: readonly string[];
  /** How many of them each driver made. */
  readonly drivers: Readonly<Record<string, number>>;
  /** Everything that does not hold. Empty: all is well. */
  readonly problems: readonly Problem[];
}

/** How many jobs are read at once. */
const readersAtOnce = 6;

/** Verifies. Throws what the reader throws: a platform that does not answer is no verdict. */
export async function verifyHistory(
  entries: readonly HistoryEntry[],
  reader: JobReader,
): Promise<Verdict> {
  const expected = expectationsOf(entries);
  const verdict = new VerdictBuilder(expected);
  await verdict.checkKeys(reader);
  const waiting = [...expected.jobs];
  const work = Array.from({ length: readersAtOnce }, async () => {
    for (let job = waiting.pop(); job !== undefined; job = waiting.pop()) {
      await verdict.checkJob(job, reader);
    }
  });
  await Promise.all(work);
  return verdict.result;
}

class VerdictBuilder {
  readonly #expected: Expectations;
  readonly #problems: Problem[] = [];
  /** The driver of each sandbox. */
  readonly #sandboxes = new Map<string, string>();
  readonly #sum = {
    succeeded: 0,
    failed: 0,
    cancelled: 0,
    attempts: 0,
    lost: 0,
    unfinished: 0,
    doubledKeys: 0,
    logBytes: 0,
    logBytesLost: 0,
    logBytesDoubled: 0,
    logBytesAltered: 0,
    fencedWrites: 0,
  };

  constructor(expected: Expectations) {
    this.#expected = expected;
    for (const { jobId, what } of expected.refusals) this.#problems.push({ jobId, what });
  }

  get result(): Verdict {
    return {
      jobs: this.#expected.jobs.length,
      acknowledged: this.#expected.acknowledgements,
      ...this.#sum,
      sandboxes: [...this.#sandboxes.keys()],
      drivers: this.#drivers(),
      problems: this.#problems,
    };
  }

  /** One key, one job: by what was answered, and by what is there. */
  async checkKeys(reader: JobReader): Promise<void> {
    const { idsOfKey, tags } = this.#expected;
    for (const [key, ids] of idsOfKey) {
      if (ids.size === 1) continue;
      this.#sum.doubledKeys += ids.size - 1;
      this.#problem(key, `expected one job of this key, answered were ${[...ids].join(", ")}`);
    }
    const unknown = new Map<string, string[]>();
    for await (const { id, spec } of reader.list()) {
      const tag = spec?.labels[tagLabel] ?? "";
      const known = tags.get(tag);
      if (known === undefined || known.ids.has(id)) continue;
      unknown.set(tag, [...(unknown.get(tag) ?? []), id]);
    }
    for (const [tag, ids] of unknown) {
      // A key whose answer never came may have made its job all the same: one.
      const tooMany = ids.length - (tags.get(tag)?.unanswered ?? 0);
      if (tooMany <= 0) continue;
      this.#sum.doubledKeys += tooMany;
      this.#problem(tag, `expected no other job with this tag, there are ${ids.join(", ")}`);
    }
  }

  async checkJob(expected: JobExpectation, reader: JobReader): Promise<void> {
    const { jobId } = expected;
    const shown = await reader.get(jobId);
    if (shown === undefined) {
      this.#sum.lost += 1;
      this.#problem(jobId, "it was acknowledged: expected to find it, but there is no such job");
      return;
    }
    const { job, fencedWrites } = shown;
    this.#sum.fencedWrites += fencedWrites.reduce((sum, { count }) => sum + count, 0);
    this.#sum.attempts += job.attempt;
    if (!isFinalStatus(job.status)) {
      this.#sum.unfinished += 1;
      this.#problem(jobId, `expected an end, found ${JobStatus[job.status]}`);
      return;
    }
    if (job.status === JobStatus.SUCCEEDED) this.#sum.succeeded += 1;
    else if (job.status === JobStatus.CANCELLED) this.#sum.cancelled += 1;
    else this.#sum.failed += 1;
    const listed = await readLog(reader.events(jobId));
    const streamed = await readLog(reader.stream(jobId));
    const { difference, logBytes, faults } = verifyJob(expected, { job, listed, streamed });
    for (const { id, driver } of listed.sandboxes) this.#sandboxes.set(id, driver);
    this.#sum.logBytes += logBytes;
    this.#sum.logBytesLost += difference.lost;
    this.#sum.logBytesDoubled += difference.doubled;
    this.#sum.logBytesAltered += difference.altered;
    for (const fault of faults) this.#problem(jobId, fault);
  }

  #drivers(): Record<string, number> {
    const counted: Record<string, number> = {};
    for (const driver of this.#sandboxes.values()) counted[driver] = (counted[driver] ?? 0) + 1;
    return counted;
  }

  #problem(jobId: string, what: string): void {
    this.#problems.push({ jobId, what });
  }
}
