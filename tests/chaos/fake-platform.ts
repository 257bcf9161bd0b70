/** A platform as the verifier reads it, made of plain events that a test may spoil. */
import { create } from "@bufbuild/protobuf";
import { EventDigest } from "../../chaos/event-digest.ts";
import type { HistoryEntry } from "../../chaos/history.ts";
import { tagLabel } from "../../chaos/history.ts";
import { readLog } from "../../chaos/job-log.ts";
import type { JobReader } from "../../chaos/job-reader.ts";
import { expectedOutput, type Work } from "../../chaos/work.ts";
import { type Job, type JobEvent, JobStatus, LogStream } from "../../sdk/ts/src/node.ts";
import {
  type FencedWrite,
  FencedWriteSchema,
  JobEventSchema,
  JobSchema,
  JobSpecSchema,
} from "../../sdk/ts/src/raw.ts";

/** One job of the fake. */
export interface FakeJob {
  readonly job: Job;
  events: JobEvent[];
  /** What the stream gives. Default: the same events. */
  streamed?: JobEvent[];
  fenced: FencedWrite[];
}

/** Jobs by id; a test changes them as it likes. */
export class FakePlatform implements JobReader {
  readonly jobs = new Map<string, FakeJob>();

  async *list() {
    for (const { job } of this.jobs.values()) yield job;
  }

  async get(id: string) {
    const found = this.jobs.get(id);
    return found && { job: found.job, fencedWrites: found.fenced };
  }

  async *events(id: string) {
    yield* this.jobs.get(id)?.events ?? [];
  }

  async *stream(id: string) {
    const found = this.jobs.get(id);
    yield* found?.streamed ?? found?.events ?? [];
  }

  /** The job; throws if there is none. */
  jobOf(id: string): FakeJob {
    const found = this.jobs.get(id);
    if (found === undefined) throw new Error(`no ${id}`);
    return found;
  }
}

/** A job that was lost by its first runner after `cutAt` bytes and did its work in the second attempt. */
export async function addJob(platform: FakePlatform, id: string, work: Work): Promise<FakeJob> {
  const { stdout, stderr, exitCode } = expectedOutput(work);
  const status = (value: { status: JobStatus; attempt: number }) =>
    ({ case: "status", value }) as const;
  const log = (stream: LogStream, data: Buffer) =>
    ({ case: "log", value: { stream, data } }) as const;
  const half = Math.floor(stdout.length / 2);
  const kinds = [
    status({ status: JobStatus.QUEUED, attempt: 0 }),
    status({ status: JobStatus.RUNNING, attempt: 1 }),
    log(LogStream.STDOUT, stdout.subarray(0, half)),
    status({ status: JobStatus.QUEUED, attempt: 1 }),
    status({ status: JobStatus.RUNNING, attempt: 2 }),
    log(LogStream.STDOUT, stdout.subarray(0, half)),
    log(LogStream.STDOUT, stdout.subarray(half)),
    log(LogStream.STDERR, stderr),
  ];
  const events = kinds.map((kind, i) => create(JobEventSchema, { seq: i + 1, kind }));
  const last = (await readLog(toAsync(events))).attempts.at(-1);
  const outcome = exitCode === 0 ? JobStatus.SUCCEEDED : JobStatus.FAILED;
  const result = {
    outcome,
    ...(exitCode !== undefined && { exitCode }),
    reason: exitCode === 0 ? "" : "EXIT_STATUS",
    logSha256: last?.sha256 ?? "",
    logBytes: BigInt(last?.bytes ?? 0),
  };
  const seq = events.length + 1;
  events.push(create(JobEventSchema, { seq, kind: { case: "result", value: result } }));
  const spec = create(JobSpecSchema, { labels: { [tagLabel]: work.tag } });
  const job = create(JobSchema, { id, status: outcome, attempt: 2, lastSeq: seq, spec, result });
  const made = { job, events, fenced: [create(FencedWriteSchema, { epoch: 1, count: 3 })] };
  platform.jobs.set(id, made);
  return made;
}

/** What a client of that job noted, with a watcher that saw all of it. */
export function historyOf(id: string, work: Work, { events }: FakeJob): HistoryEntry[] {
  const digest = new EventDigest();
  for (const event of events) digest.take(event);
  return [
    { kind: "asked", key: work.tag, work, maxAttempts: 20 },
    { kind: "accepted", key: work.tag, jobId: id, replayed: false },
    { kind: "accepted", key: work.tag, jobId: id, replayed: true },
    { kind: "watched", jobId: id, from: 1, events: digest.count, sha256: digest.hex() },
  ];
}

async function* toAsync<T>(items: Iterable<T>) {
  yield* items;
}
