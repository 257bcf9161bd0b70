/** Owns the SDK's short form of a job and of its enums, and the way to the contract's. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AgentAnswerSchema,
  AgentHarness,
  type AgentWorkSchema,
  BudgetEnd,
} from "./gen/devmesh/api/v1/agent_work_pb.js";
import { Isolation } from "./gen/devmesh/api/v1/isolation_pb.js";
import type { JobSpecSchema } from "./gen/devmesh/api/v1/job_pb.js";
import { JobStatus } from "./gen/devmesh/api/v1/job_status_pb.js";

/** How strongly a job's code is kept apart from the host, weakest first. */
export type IsolationName = "process" | "container" | "gvisor" | "vm";

/** Where a job stands. */
export type JobStatusName = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** The program that does an agent's work: devmesh's own agent, one of another maker, any program. */
export type AgentHarnessName = "coder" | "codex" | "opencode" | "command";

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
  /** The tools it may use besides `finish`. Default: all. */
  readonly tools?: readonly string[];
  /** Most money, in millionths of a US dollar. Default: no bound. */
  readonly maxCostMicros?: number;
  /** What happens when a budget ends: the job fails, or it waits for `answer`. Default: `stop`. */
  readonly onBudgetEnd?: "stop" | "ask";
  /** Globs of files that must stay as they are. Default: none. */
  readonly protectedPaths?: readonly string[];
  /** Which program does the work. Default: `coder`. */
  readonly harness?: AgentHarnessName;
  /**
   * For `command` the program and its arguments, `{task}` standing for the
   * task; for the others more arguments. Default: none.
   */
  readonly harnessArgv?: readonly string[];
}

/** An answer to an agent that asks because a budget has ended. */
export interface AgentAnswerInput {
  /** The number of the event that asks (a note `agent.question`). */
  readonly questionSeq: number;
  /** True: it shall stop; the job fails with LIMIT and keeps what was done. Default: false. */
  readonly stop?: boolean;
  /** So many model turns more. Default: 0. */
  readonly moreSteps?: number;
  /** So many tokens more. Default: 0. */
  readonly moreTokens?: number;
  /** So much money more, in millionths of a US dollar. Default: 0. */
  readonly moreCostMicros?: number;
  /** So much time more, in milliseconds. Default: 0. */
  readonly moreTimeMs?: number;
  /** A word to the agent. Default: none. */
  readonly message?: string;
}

/** One destination that a job's sandbox may reach. */
export interface EgressAllowance {
  /** A host's name, or `*.` and a name for every host below it. */
  readonly host: string;
  /** Default: 443, or 80 with `plainHttp`. */
  readonly port?: number;
  /** HTTP methods, in capitals. Default: all. */
  readonly methods?: readonly string[];
  /** Beginnings of paths. Default: all. */
  readonly paths?: readonly string[];
  /** Secrets of the runner's host that are put into requests on their way out. */
  readonly secrets?: readonly {
    readonly header: string;
    readonly secret: string;
    /** Stands before the secret, for example `Bearer `. */
    readonly prefix?: string;
  }[];
  /** True: plain HTTP is spoken. Default: TLS. */
  readonly plainHttp?: boolean;
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
  /** What its sandbox may reach besides the backend. Default: nothing. */
  readonly network?: { readonly allow: readonly EgressAllowance[] };
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
        ? { case: "agent", value: toAgentWork(input.agent) }
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
    ...(input.network && { network: { allow: input.network.allow.map(toEgressRule) } }),
  };
}

function toEgressRule(input: EgressAllowance) {
  const { host, port = 0, methods = [], paths = [], secrets = [], plainHttp = false } = input;
  return {
    ...{ host, port, plainHttp },
    methods: [...methods],
    paths: [...paths],
    secrets: secrets.map(({ header, secret, prefix = "" }) => ({ header, secret, prefix })),
  };
}

function toAgentWork({
  testArgv = [],
  tools = [],
  protectedPaths = [],
  maxCostMicros = 0,
  onBudgetEnd,
  harness,
  harnessArgv = [],
  ...rest
}: AgentTask): MessageInitShape<typeof AgentWorkSchema> {
  return {
    ...rest,
    testArgv: [...testArgv],
    tools: [...tools],
    protectedPaths: [...protectedPaths],
    maxCostMicros: BigInt(maxCostMicros),
    onBudgetEnd: onBudgetEnd === undefined ? BudgetEnd.UNSPECIFIED : budgetEnds[onBudgetEnd],
    harness: harness === undefined ? AgentHarness.UNSPECIFIED : harnesses[harness],
    harnessArgv: [...harnessArgv],
  };
}

const budgetEnds = { stop: BudgetEnd.STOP, ask: BudgetEnd.ASK };

/** The contract's form of an answer. */
export function toAgentAnswer(input: AgentAnswerInput): MessageInitShape<typeof AgentAnswerSchema> {
  const { moreCostMicros = 0, moreTimeMs = 0, ...rest } = input;
  return {
    ...rest,
    moreCostMicros: BigInt(moreCostMicros),
    ...(moreTimeMs > 0 && { moreTime: durationFromMs(moreTimeMs) }),
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

const harnesses: Readonly<Record<AgentHarnessName, AgentHarness>> = {
  coder: AgentHarness.CODER,
  codex: AgentHarness.CODEX,
  opencode: AgentHarness.OPENCODE,
  command: AgentHarness.COMMAND,
};

/** The names of all that can do an agent's work. */
export const agentHarnessNames = Object.keys(harnesses) as readonly AgentHarnessName[];

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
