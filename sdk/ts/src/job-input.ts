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
  };
  /** How many times it may be started in all when a runner is lost. Default: 2. */
  readonly maxAttempts?: number;
  /** Free labels. */
  readonly labels?: Readonly<Record<string, string>>;
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
  const { limits, labels, maxAttempts, workspaceSha256 } = input;
  return {
    work:
      input.command === undefined
        ? { case: "agent", value: { ...input.agent, testArgv: [...(input.agent.testArgv ?? [])] } }
        : { case: "command", value: { argv: [...input.command], env: { ...input.env } } },
    isolation: input.isolation === undefined ? Isolation.UNSPECIFIED : isolations[input.isolation],
    ...(workspaceSha256 !== undefined && { workspaceSha256 }),
    ...(limits && {
      limits: {
        ...limits,
        ...(limits.runTimeoutMs !== undefined && {
          runTimeout: durationFromMs(limits.runTimeoutMs),
        }),
      },
    }),
    ...(maxAttempts !== undefined && { maxAttempts }),
    ...(labels && { labels: { ...labels } }),
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
