/** What the tests of job stores share: jobs, leases, events, and how to expect refusals. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { type JobEvent, JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { type Job, type JobSpec, JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { type JobResult, JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, type Reason } from "@devmesh/mesh/errors";
import { CountedIds } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { AcceptInput, ClaimedJob, ClaimInput, JobStore } from "./job-store.ts";

/** Gives stores to the tests, and closes them in the end. */
export interface JobStoreBed {
  /** An empty store. Ends what was opened before. */
  fresh(): Promise<JobStore>;
  /** The same store once more, as another process has it where there can be one. */
  again(): Promise<JobStore>;
  /** Lets the store's clock go on. */
  advance(ms: number): Promise<void>;
  /** Sets what is drawn for waits, from 0 up to, and not including, 1; `fresh` sets 0. */
  draw(value: number): void;
}

/** Longer than any test. */
export const longMs = 3_600_000;

const ids = new CountedIds();

/** Ids that rise, of equal length. */
export function newId(): string {
  return `job_${ids.next("").slice(1).padStart(8, "0")}`;
}

/** A command that accepts `isolation`. */
export function commandSpec(isolation = Isolation.UNSPECIFIED): JobSpec {
  return create(JobSpecSchema, {
    work: { case: "command", value: { argv: ["true"] } },
    isolation,
  });
}

/** A command with more in its spec. */
export function specWith(more: Omit<MessageInitShape<typeof JobSpecSchema>, "$typeName">): JobSpec {
  return create(JobSpecSchema, { work: commandSpec().work, ...more });
}

/** A task for the agent. */
export function agentSpec(): JobSpec {
  return create(JobSpecSchema, { work: { case: "agent", value: { task: "tidy up" } } });
}

/** Accepts a job of owner `tok_1` with two attempts. */
export async function accept(store: JobStore, input: Partial<AcceptInput> = {}): Promise<Job> {
  const defaults = { id: newId(), owner: "tok_1", spec: commandSpec(), maxAttempts: 2 };
  return (await store.accept({ ...defaults, ...input })).job;
}

/** Claims as runner `r1`, able to do everything, up to 100 jobs. */
export function claim(store: JobStore, input: Partial<ClaimInput> = {}): Promise<ClaimedJob[]> {
  const defaults = { runnerId: "r1", strongest: Isolation.VM, max: 100, leaseTtlMs: longMs };
  return store.claim({ ...defaults, ...input });
}

/** A job in a runner's hands, with its lease. */
export interface Held {
  readonly id: string;
  readonly lease: { readonly jobId: string; readonly epoch: number };
  readonly nextSeq: number;
}

/** Claims one job; accepts it first unless one waits. */
export async function hold(
  store: JobStore,
  input: Partial<AcceptInput> & Partial<Pick<ClaimInput, "leaseTtlMs" | "runnerId">> = {},
): Promise<Held> {
  const { leaseTtlMs = longMs, runnerId = "r1", ...rest } = input;
  if ((await store.stats()).queued === 0) await accept(store, rest);
  const [claimed] = await claim(store, { max: 1, leaseTtlMs, runnerId });
  if (claimed === undefined) throw new Error("no job to claim");
  const { job, epoch, nextSeq } = claimed;
  return { id: job.id, lease: { jobId: job.id, epoch }, nextSeq };
}

/** A log event. */
export function log(seq: number, text: string, stream = LogStream.STDOUT): JobEvent {
  const value = { stream, data: new TextEncoder().encode(text) };
  return create(JobEventSchema, { seq, kind: { case: "log", value } });
}

/** A note. */
export function note(seq: number, message = "noted"): JobEvent {
  const value = { level: "info", topic: "test", message };
  return create(JobEventSchema, { seq, kind: { case: "note", value } });
}

/** A result with this outcome. */
export function result(outcome = JobStatus.SUCCEEDED): JobResult {
  return create(JobResultSchema, { outcome, exitCode: 0, driver: "fake" });
}

/** All events of a job. */
export function allEvents(store: JobStore, id: string): Promise<JobEvent[]> {
  return store.readEvents(id, 1, { maxEvents: 100_000, maxBytes: 1 << 30 });
}

/** An event in a word or two: `QUEUED`, `RUNNING 1 r1`, `log text`, `note text`, `result FAILED`. */
export function brief({ kind }: JobEvent): string {
  switch (kind.case) {
    case "log":
      return `log ${Buffer.from(kind.value.data)}`;
    case "note":
      return `note ${kind.value.message}`;
    case "status": {
      const { status, attempt, runner } = kind.value;
      return status === JobStatus.RUNNING ? `RUNNING ${attempt} ${runner}` : JobStatus[status];
    }
    case "trim":
      return `trim ${kind.value.firstSeq}`;
    case "result":
      return `result ${JobStatus[kind.value.outcome]}`;
    case undefined:
      return "nothing";
  }
}

/** All events of a job in brief; fails unless they are numbered 1, 2, 3, …, up to the job's last. */
export async function history(store: JobStore, id: string): Promise<string[]> {
  const events = await allEvents(store, id);
  expect(events.map(({ seq }) => seq)).to.deep.equal(events.map((_, index) => index + 1));
  expect((await store.get(id))?.lastSeq).to.equal(events.length);
  return events.map(brief);
}

/** Fails unless the promise is refused for this reason. */
export async function refused(promise: Promise<unknown>, reason: Reason): Promise<void> {
  expect(await reasonOf(promise)).to.equal(reason);
}

/** Why a promise is refused; `ok` if it is not. Other errors are thrown on. */
export async function reasonOf(promise: Promise<unknown>): Promise<Reason | "ok"> {
  try {
    await promise;
    return "ok";
  } catch (error) {
    if (error instanceof DevmeshError) return error.reason;
    throw error;
  }
}
