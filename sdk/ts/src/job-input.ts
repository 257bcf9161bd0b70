/** Owns the SDK's short form of a job and of its enums, and the way to the contract's. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Isolation, type JobSpecSchema, JobStatus } from "./gen/devmesh/api/v1/job_pb.js";

/** How strongly a job's code is kept apart from the host, weakest first. */
export type IsolationName = "process" | "container" | "gvisor" | "vm";

/** Where a job stands. */
export type JobStatusName = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** A task for the coding agent. */
export interface AgentTask {
  /** The task in words. */
  readonly task: string;
  /** `provider/name` or a role. Default: the role `coding`. */
  readonly model?: string;
  /** A command that proves the task done. Default: none. */
  readonly testArgv?: readonly string[];
  /** Most model turns. Default: 40. */
  readonly maxSteps?: number;
  /** Most tokens, in and out. Default: 400,000. */
  readonly maxTokens?: number;
  /** Tokens of context it is given at the start. Default: 4,000. */
  readonly contextTokens?: number;
}

/** Conditions of a job, whatever its work. */
export interface JobConditions {
  /** The least isolation the job accepts. Default: `process`. */
  readonly isolation?: IsolationName;
  /** SHA-256 of the workspace archive in the blob store. Default: an empty work dir. */
  readonly workspaceSha256?: string;
  /** Bounds; the server's defaults where nothing is said. */
  readonly limits?: {
    /** Time from start to forced end, in milliseconds. */
    readonly runTimeoutMs?: number;
    readonly memoryMib?: number;
    /** Thousandths of a processor. */
    readonly cpuMillis?: number;
    readonly pids?: number;
    readonly diskMib?: number;
    /**
     * Time from acceptance to the first start, in milliseconds; past it the job
     * fails with QUEUE_TIMEOUT. A start delay counts. Default: none. Up to 90 days.
     */
    readonly queueTimeoutMs?: number;
    /**
     * The longest time without a byte of output, in milliseconds; past it the
     * job fails with SILENT. Default: none. Up to 24 hours.
     */
    readonly silenceTimeoutMs?: number;
  };
  /** How many times it may be started in all, 1 to 20. `retry` says after what. Default: 2. */
  readonly maxAttempts?: number;
  /** Free labels. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Labels that a runner must have to run it, for example `{ zone: "eu" }`. Default: none. */
  readonly runnerLabels?: Readonly<Record<string, string>>;
  /** Jobs with a higher number start first, -1000 to 1000. Default: 0. */
  readonly priority?: number;
  /** Bounds how many jobs like this one run at once. Default: no bound. */
  readonly concurrency?: {
    /** Jobs of one owner with the same key share the slots. */
    readonly key: string;
    /** How many of them may run at once, as this job sees it. Default: 1. */
    readonly limit?: number;
  };
  /** The job is not started before this time has passed, in milliseconds. Default: 0. Up to 30 days. */
  readonly startDelayMs?: number;
  /** After what, and how long after it, the job is started again. */
  readonly retry?: {
    /** True: also after a failure, not only after a lost runner. Default: false. */
    readonly failures?: boolean;
    /** The bound of the wait after the first attempt, in milliseconds; it doubles. Default: 1 s. */
    readonly minBackoffMs?: number;
    /** The bound of every wait, in milliseconds. Default: 5 minutes. */
    readonly maxBackoffMs?: number;
  };
}

/** A job: a program with its arguments, or a task for the coding agent. */
export type JobInput = JobConditions &
  (
    | {
        /** The program and its arguments; not interpreted by a shell. */
        readonly command: readonly string[];
        /** Environment variables. */
        readonly env?: Readonly<Record<string, string>>;
        readonly agent?: never;
      }
    | { readonly agent: AgentTask; readonly command?: never; readonly env?: never }
  );

/** The contract's form of a job. */
export function toJobSpec(input: JobInput): MessageInitShape<typeof JobSpecSchema> {
  const { labels, maxAttempts, workspaceSha256, priority, concurrency, startDelayMs } = input;
  return {
    work:
      input.command === undefined
        ? { case: "agent", value: { ...input.agent, testArgv: [...(input.agent.testArgv ?? [])] } }
        : { case: "command", value: { argv: [...input.command], env: { ...input.env } } },
    isolation: input.isolation === undefined ? Isolation.UNSPECIFIED : isolations[input.isolation],
    ...(workspaceSha256 !== undefined && { workspaceSha256 }),
    ...(input.limits && { limits: toLimits(input.limits) }),
    ...(maxAttempts !== undefined && { maxAttempts }),
    ...(labels && { labels: { ...labels } }),
    ...(input.runnerLabels && { runnerLabels: { ...input.runnerLabels } }),
    ...(priority !== undefined && { priority }),
    ...(concurrency && { concurrency: { ...concurrency } }),
    ...(startDelayMs !== undefined && { startDelay: durationFromMs(startDelayMs) }),
    ...(input.retry && { retry: toRetryPolicy(input.retry) }),
  };
}

function toLimits(limits: NonNullable<JobConditions["limits"]>) {
  const { runTimeoutMs, queueTimeoutMs, silenceTimeoutMs, ...rest } = limits;
  return {
    ...rest,
    ...(runTimeoutMs !== undefined && { runTimeout: durationFromMs(runTimeoutMs) }),
    ...(queueTimeoutMs !== undefined && { queueTimeout: durationFromMs(queueTimeoutMs) }),
    ...(silenceTimeoutMs !== undefined && { silenceTimeout: durationFromMs(silenceTimeoutMs) }),
  };
}

function toRetryPolicy({
  failures,
  minBackoffMs,
  maxBackoffMs,
}: NonNullable<JobConditions["retry"]>) {
  return {
    ...(failures !== undefined && { failures }),
    ...(minBackoffMs !== undefined && { minBackoff: durationFromMs(minBackoffMs) }),
    ...(maxBackoffMs !== undefined && { maxBackoff: durationFromMs(maxBackoffMs) }),
  };
}

const isolations: Readonly<Record<IsolationName, Isolation>> = {
  process: Isolation.PROCESS,
  container: Isolation.CONTAINER,
  gvisor: Isolation.GVISOR,
  vm: Isolation.VM,
};

const statuses: Readonly<Record<JobStatusName, JobStatus>> = {
  queued: JobStatus.QUEUED,
  running: JobStatus.RUNNING,
  succeeded: JobStatus.SUCCEEDED,
  failed: JobStatus.FAILED,
  cancelled: JobStatus.CANCELLED,
};

/** All isolation names, weakest first. */
export const isolationNames = Object.keys(isolations) as readonly IsolationName[];

/** All status names, in the order of a job's life. */
export const jobStatusNames = Object.keys(statuses) as readonly JobStatusName[];

/** The contract's form of a status name. */
export function toJobStatus(name: JobStatusName): JobStatus {
  return statuses[name];
}

/** The name of a status. Undefined for one that this version does not know. */
export function jobStatusName(status: JobStatus): JobStatusName | undefined {
  return jobStatusNames.find((name) => statuses[name] === status);
}

/** The name of an isolation. Undefined for none, or one that this version does not know. */
export function isolationName(isolation: Isolation): IsolationName | undefined {
  return isolationNames.find((name) => isolations[name] === isolation);
}

/** True if a job with this status will not change any more. */
export function isFinalStatus(status: JobStatus): boolean {
  return (
    status === JobStatus.SUCCEEDED || status === JobStatus.FAILED || status === JobStatus.CANCELLED
  );
}
