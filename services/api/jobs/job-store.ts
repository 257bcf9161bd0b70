/**
 * The port behind which jobs and their events live. The store gives epochs and
 * checks sequence numbers; its clock is the only clock, so callers pass
 * durations, never instants. The suite beside it holds every implementation.
 */
import type {
  Isolation,
  Job,
  JobEvent,
  JobResult,
  JobSpec,
  JobStatus,
} from "@devmesh/gen/devmesh/api/v1/job_pb";

/** A job to accept. */
export interface AcceptInput {
  /** The new job's id; unused when the key answers an earlier job. */
  readonly id: string;
  /** The token id of the caller. Scopes the key. */
  readonly owner: string;
  readonly spec: JobSpec;
  /** Attempts in all; ≥ 1. */
  readonly maxAttempts: number;
  /** Absent: every call makes a job. */
  readonly key?: {
    readonly value: string;
    /** SHA-256 of the request: the same key with another fingerprint is refused. */
    readonly fingerprint: string;
    /** How long the key answers this job. */
    readonly ttlMs: number;
  };
}

/** What a claim asks for. */
export interface ClaimInput {
  readonly runnerId: string;
  /** The strongest isolation the runner can give: it gets jobs that accept it or less. */
  readonly strongest: Isolation;
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

/** What a sweep did with a job whose lease ran out. */
export interface SweptJob {
  readonly jobId: string;
  readonly runnerId: string;
  readonly outcome: "requeued" | "failed" | "cancelled";
}

/** What the queue looks like now. */
export interface QueueStats {
  readonly queued: number;
  readonly running: number;
}

/** How much of a log to read at once. A page has one event at least, if there is one. */
export interface ReadLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/**
 * Jobs, their leases and their events. Every method is one transaction. After
 * a change of a job, watchers of `onChange` hear its id: a hint that may be
 * lost or doubled, never the truth.
 */
export interface JobStore {
  /**
   * Accepts a job with its first event (`status` QUEUED, seq 1), or answers
   * the job that the key made. Throws KEY_REUSED.
   */
  accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }>;

  /** One job, or undefined. */
  get(id: string): Promise<Job | undefined>;

  /** Jobs, newest first: by id, which sorts by time. */
  list(query: ListQuery): Promise<Job[]>;

  /**
   * Takes up to `max` queued jobs, oldest first, each by exactly one caller;
   * each gets a new epoch, the next attempt and a `status` RUNNING event.
   */
  claim(input: ClaimInput): Promise<ClaimedJob[]>;

  /** Renews leases of a runner; answers for each in order. Never throws for one of them. */
  renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]>;

  /**
   * Appends events that continue the log; answers the last number stored.
   * Events of the same epoch that are stored already are passed over. The
   * store sets their time. Throws FENCED, SEQUENCE_GAP, NOT_FOUND.
   */
  append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number>;

  /**
   * Ends a leased job with its `result` event, number `seq`. Repeated by the
   * same lease it answers the ended job. Throws FENCED, SEQUENCE_GAP, NOT_FOUND.
   */
  finish(lease: LeaseRef, seq: number, result: JobResult): Promise<Job>;

  /**
   * Gives a leased job back to the queue; the attempt does not count. A job
   * whose cancel was asked for ends as CANCELLED instead. Throws FENCED, NOT_FOUND.
   */
  release(lease: LeaseRef, detail: string): Promise<void>;

  /**
   * Asks to cancel: a queued job ends at once as CANCELLED, a running one is
   * marked. Repeated: the same. Throws NOT_FOUND, and WRONG_STATE if it has
   * succeeded or failed; a job that is CANCELLED already is answered.
   */
  requestCancel(id: string, detail: string): Promise<Job>;

  /**
   * Takes back leases that ran out: the job is queued again while attempts are
   * left, else fails as RUNNER_LOST; one whose cancel was asked for ends as
   * CANCELLED. Its result carries the SHA-256 and size of the log of the last
   * attempt, as the runner's would.
   */
  sweep(): Promise<SweptJob[]>;

  /** Events from number `from` on (0 and 1: from the start), in order. Empty for unknown jobs. */
  readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]>;

  /** How many jobs wait and run. */
  stats(): Promise<QueueStats>;

  /** Calls back with a job's id after changes; answers how to stop. */
  onChange(listener: (jobId: string) => void): () => void;

  /** A cheap real read, for readiness. Throws if the store does not answer. */
  ping(): Promise<void>;

  /** Ends connections. */
  close(): Promise<void>;
}
