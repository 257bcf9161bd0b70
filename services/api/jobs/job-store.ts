/**
 * The port behind which jobs and their events live. The store gives epochs and
 * checks sequence numbers; its clock is the only clock, so callers pass
 * durations, never instants. The suite beside it holds every implementation.
 */
import type { AgentAnswer } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { FencedWrite, Job, JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { JobResult } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import type { Labels } from "./job-placement.ts";

/** A job to accept. */
export interface AcceptInput {
  /** The new job's id; unused when the key answers an earlier job. */
  readonly id: string;
  /** Whose the job is. Scopes the idempotency key and the concurrency key. */
  readonly owner: string;
  /** Priority, start delay, concurrency, queue timeout and retries are taken from it. */
  readonly spec: JobSpec;
  /** Attempts in all; ≥ 1. */
  readonly maxAttempts: number;
  /** Absent: every call makes a job. */
  readonly key?: KeyInput & {
    /** How long the key answers this job. */
    readonly ttlMs: number;
  };
}

/** An idempotency key and what it was used for. */
export interface KeyInput {
  readonly value: string;
  /** SHA-256 of the request: the same key with another fingerprint is refused. */
  readonly fingerprint: string;
}

/** What a claim asks for. */
export interface ClaimInput {
  readonly runnerId: string;
  /** The strongest isolation the runner can give: it gets jobs that accept it or less. */
  readonly strongest: Isolation;
  /** What the runner has: it gets jobs that ask for these labels or fewer. Default: none. */
  readonly labels?: Labels;
  /** The caller that takes the leases; see `leaseHolder`. Default: nobody. */
  readonly holder?: string;
  readonly max: number;
  readonly leaseTtlMs: number;
}

/** A job in a runner's hands. */
export interface ClaimedJob {
  readonly job: Job;
  /** The fence; every later write carries it. Never the same twice for one job. */
  readonly epoch: number;
  /** The number of the next event. */
  readonly nextSeq: number;
}

/** Names a lease. */
export interface LeaseRef {
  readonly jobId: string;
  readonly epoch: number;
}

/** What became of a lease. */
export interface LeaseState {
  readonly jobId: string;
  readonly fenced: boolean;
  readonly cancelRequested: boolean;
  /** The last answer given to the job's agent. Absent: none. */
  readonly answer?: AgentAnswer | undefined;
}

/** Who wants a job cancelled, and why. */
export interface CancelInput {
  /** The caller: a token's id, `dev` or `service`. */
  readonly by: string;
  /** Empty: nobody said. */
  readonly detail: string;
}

/** Which jobs to list, newest first. */
export interface ListQuery {
  /** 1 to 500. */
  readonly limit: number;
  /** Only jobs older than this id. */
  readonly beforeId?: string;
  /** Empty: all. */
  readonly statuses: readonly JobStatus[];
  /** Empty: all. */
  readonly type: string;
  /** Only this owner's. Absent: all. */
  readonly owner?: string;
}

/**
 * What a sweep did with a job: its lease ran out, or (`timed_out`, without a
 * runner) its queue timeout.
 */
export interface SweptJob {
  readonly jobId: string;
  readonly runnerId: string;
  readonly outcome: "requeued" | "failed" | "cancelled" | "timed_out";
}

/** How many jobs wait and run. */
export interface QueueStats {
  readonly queued: number;
  readonly running: number;
}

/** The queue as a whole. */
export interface QueueState extends QueueStats {
  /** True: no job is started. */
  readonly paused: boolean;
  /** Empty where nobody said why, and while it is not paused. */
  readonly pauseDetail: string;
  /** Since when it is paused; undefined if it is not. */
  readonly pausedAt: Date | undefined;
}

/** What keeps a queued job waiting, as far as the store knows. */
export interface QueueFacts {
  readonly job: Job;
  /** See Hold in `job-rows.ts`. Empty for jobs that do not wait. */
  readonly hold: "" | "delay" | "key";
  readonly paused: boolean;
  readonly pauseDetail: string;
  /** How many jobs that ask for the same labels, or for none, come before it; counted up to 1,000. */
  readonly ahead: number;
  /** Jobs that have a slot of its concurrency key now, up to 10 ids. */
  readonly holders: readonly string[];
}

/** Which logs to remove. */
export interface TrimInput {
  /** Of jobs that ended at least this long ago. */
  readonly endedBeforeMs: number;
  /** Jobs at most. */
  readonly limit: number;
}

/** How much of a log to read at once. A page has one event at least, if there is one. */
export interface ReadLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/**
 * Jobs, their leases and their events. Every method is one transaction, but
 * that on Postgres a freed slot of a concurrency key is given on in the next
 * one, and by a sweep if the process ends between. After a change of a job,
 * watchers of `onChange` hear its id: a hint that may be lost or doubled,
 * never the truth.
 *
 * A write under a lease that has ended is refused as FENCED and noted; see
 * `fencedWrites`.
 */
export interface JobStore {
  /**
   * Accepts a job with its first event (`status` QUEUED, seq 1), or answers
   * the job that the key made. A job with a key survives the loss of power
   * once it is answered. Throws KEY_REUSED.
   */
  accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }>;

  /** The job that the owner's key made, while the key lasts. Throws KEY_REUSED. */
  findByKey(owner: string, key: KeyInput): Promise<Job | undefined>;

  /** One job, or undefined. */
  get(id: string): Promise<Job | undefined>;

  /** Jobs, newest first: by id, which sorts by time. */
  list(query: ListQuery): Promise<Job[]>;

  /**
   * Takes up to `max` queued jobs, the highest priority first and within one
   * the oldest, each by exactly one caller; each gets a new epoch, the next
   * attempt and a `status` RUNNING event. Jobs whose delay is over come along;
   * none while the queue is paused. A job with a concurrency key is taken only
   * while fewer than its limit run of its owner's jobs with that key; one that
   * asks for labels only by runners that have all of them. What no runner may
   * take costs a claim nothing, however much of it waits.
   */
  claim(input: ClaimInput): Promise<ClaimedJob[]>;

  /**
   * The caller that took a lease; undefined for leases that were never given,
   * and for those after which another was taken.
   */
  leaseHolder(lease: LeaseRef): Promise<string | undefined>;

  /** Renews leases of a runner; answers for each in order. Never throws for one of them. */
  renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]>;

  /**
   * Appends events that continue the log; answers the last number stored.
   * Events of the same epoch that are stored already are passed over. The
   * store sets their time. Throws FENCED, SEQUENCE_GAP, NOT_FOUND.
   */
  append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number>;

  /**
   * Ends a leased job with its `result` event, number `seq`; the store adds
   * `last_seq` and what it knows of a cancel. A failed end of a job whose
   * policy says so queues it again instead, while attempts are left and nobody
   * wants it cancelled: event `seq` then names the reason and the wait.
   * Repeated by the same lease it answers the job as it stands, until a later
   * lease's end. An end that comes at the same time as a cancel stands as the
   * runner reports it. Throws FENCED, SEQUENCE_GAP, NOT_FOUND.
   */
  finish(lease: LeaseRef, seq: number, result: JobResult): Promise<Job>;

  /**
   * Gives a leased job back to the queue, at its old place and at once; the
   * attempt does not count. A job whose cancel was asked for ends as CANCELLED
   * instead. Throws FENCED, NOT_FOUND.
   */
  release(lease: LeaseRef, detail: string): Promise<void>;

  /**
   * Asks to cancel. A queued job ends at once as CANCELLED, whatever holds it
   * back; its receipt has no steps. A running one is marked, and its runner is
   * told with the next renewal: it ends as the runner reports, and as
   * CANCELLED if the lease ends first. A request that meets a claim ends the
   * job or marks it, one of both. The first request's caller, time and detail
   * stand: repeated, it answers the job. Throws NOT_FOUND, and WRONG_STATE if
   * it has succeeded or failed; a job that is CANCELLED already is answered.
   */
  requestCancel(id: string, input: CancelInput): Promise<Job>;

  /**
   * Keeps the answer to an open question: a note `agent.question` with that
   * number and nothing of the agent behind it. The job's runner is told with the
   * next renewal. The same answer again changes nothing. Throws NOT_FOUND, and
   * WRONG_STATE if the job asks nothing, was answered otherwise, or has ended.
   */
  answer(id: string, answer: AgentAnswer): Promise<Job>;

  /**
   * Takes back leases that ran out: the job is queued again after a wait (see
   * RetryPolicy) while attempts are left, else fails as RUNNER_LOST; one whose
   * cancel was asked for ends as CANCELLED. Its result carries the SHA-256 and
   * size of the log of the last attempt, as the runner's would. Fails jobs
   * that waited longer for their first start than they may, as QUEUE_TIMEOUT.
   * Lets jobs on whose delay is over, gives free slots of concurrency keys to
   * those that wait for one, and drops keys past their end.
   */
  sweep(): Promise<SweptJob[]>;

  /** Events from number `from` on (0 and 1: from the start), in order. Empty for unknown jobs. */
  readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]>;

  /**
   * The writes that were refused because their lease had ended, by epoch, then
   * by action. Of one job 100 kinds at most are noted.
   */
  fencedWrites(id: string): Promise<FencedWrite[]>;

  /**
   * Removes the events of jobs that ended long ago, but for the `result`: one
   * `trim` event, with the number of the last that went, stands for the rest.
   * Answers the jobs, those that ended first first.
   */
  trim(input: TrimInput): Promise<string[]>;

  /** How many jobs wait and run: counted, so its cost grows with the queue. */
  stats(): Promise<QueueStats>;

  /** The counts, and whether the queue is paused. Costs as much as `stats`. */
  queue(): Promise<QueueState>;

  /** Lets claims answer nothing. The first reason stands until `resume`. */
  pause(detail: string): Promise<void>;

  /** Lets claims answer jobs again. */
  resume(): Promise<void>;

  /** What keeps a job waiting; undefined for unknown jobs. */
  explain(id: string): Promise<QueueFacts | undefined>;

  /** Calls back with a job's id after changes; answers how to stop. */
  onChange(listener: (jobId: string) => void): () => void;

  /** A cheap real read, for readiness. Throws if the store does not answer. */
  ping(): Promise<void>;

  /** Ends connections. */
  close(): Promise<void>;
}
