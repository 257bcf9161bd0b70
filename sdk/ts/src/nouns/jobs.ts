/** The noun `jobs`. The stream's rules are in `job-stream.ts`. */
import type { Client } from "@connectrpc/connect";
import type { RetryPolicy } from "../backoff.ts";
import { type Caller, present } from "../caller.ts";
import { Code, DevmeshApiError } from "../errors.ts";
import type { JobEvent } from "../gen/devmesh/api/v1/job_event_pb.js";
import type { FencedWrite, Job } from "../gen/devmesh/api/v1/job_pb.js";
import type { JobResult } from "../gen/devmesh/api/v1/job_result_pb.js";
import type {
  ExplainJobResponse,
  JobService,
  RetriedJob,
} from "../gen/devmesh/api/v1/job_service_pb.js";
import type { HttpGet } from "../http-get.ts";
import { createIdempotencyKey } from "../idempotency-key.ts";
import {
  type AgentAnswerInput,
  type JobInput,
  type JobStatusName,
  toAgentAnswer,
  toJobSpec,
  toJobStatus,
} from "../job-input.ts";
import type { LogOptions } from "../job-log.ts";
import { type WatchOptions, watchEvents } from "../job-stream.ts";
import type { CallOptions } from "../options.ts";
import { Pager } from "../pager.ts";
import type { LoadSha256 } from "../sha256.ts";

/** A call that makes a job. */
export interface CreateJobOptions extends CallOptions {
  /** One key, one job. Default: a new random one, so that retries are safe. */
  readonly idempotencyKey?: string;
}

/** A job that was made, now or by an earlier call with the same key. */
export interface CreatedJob {
  readonly jobId: string;
  readonly job: Job;
  /** True if the idempotency key had made this job before. */
  readonly replayed: boolean;
}

/** Which jobs to list. */
export interface JobFilter {
  /** Only these. Default: all. */
  readonly statuses?: readonly JobStatusName[];
  /** Only this type. Default: both. */
  readonly type?: "command" | "agent";
  /** Jobs in one page, 1 to 500. Default: 50. */
  readonly pageSize?: number;
}

/** A job with what is told of it only when it is asked for alone. */
export interface JobDetails {
  readonly job: Job;
  /** Writes that were refused because their lease had ended, oldest first. At most 100. */
  readonly fencedWrites: readonly FencedWrite[];
}

/** Which ended jobs to do again. */
export interface RetryFilter {
  /** Only these. Default: failed ones. */
  readonly statuses?: readonly ("failed" | "cancelled")[];
  /** Only jobs that ended with this reason. Default: any. */
  readonly reason?: string;
  /** Only jobs that have all of these labels. Default: any. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Jobs that one call looks at, 1 to 500. Default: 100. */
  readonly pageSize?: number;
}

/** Jobs: accept, look, explain, watch, cancel, retry. */
export class Jobs {
  readonly #client: Client<typeof JobService>;
  readonly #caller: Caller;
  readonly #get: HttpGet;
  readonly #retry: RetryPolicy;
  readonly #loadSha256: LoadSha256;

  /** Made by `createDevmesh`. */
  constructor(deps: {
    readonly client: Client<typeof JobService>;
    readonly caller: Caller;
    readonly get: HttpGet;
    readonly retry: RetryPolicy;
    readonly loadSha256: LoadSha256;
  }) {
    this.#client = deps.client;
    this.#caller = deps.caller;
    this.#get = deps.get;
    this.#retry = deps.retry;
    this.#loadSha256 = deps.loadSha256;
  }

  /** Hands in a job. Safe to repeat with the same key. */
  async create(input: JobInput, options: CreateJobOptions = {}): Promise<CreatedJob> {
    const idempotencyKey = options.idempotencyKey ?? createIdempotencyKey();
    const request = { spec: toJobSpec(input), idempotencyKey };
    const made = await this.#caller.unary((o) => this.#client.createJob(request, o), options);
    return { jobId: made.jobId, job: present(made.job, "job"), replayed: made.replayed };
  }

  /** One job. Throws NOT_FOUND. */
  async get(id: string, options?: CallOptions): Promise<Job> {
    const answer = await this.#caller.unary((o) => this.#client.getJob({ id }, o), options);
    return present(answer.job, "job");
  }

  /** One job with the writes about it that were refused. Throws NOT_FOUND. */
  async inspect(id: string, options?: CallOptions): Promise<JobDetails> {
    const answer = await this.#caller.unary((o) => this.#client.getJob({ id }, o), options);
    return { job: present(answer.job, "job"), fencedWrites: answer.fencedWrites };
  }

  /** Why a job is not running, or that nothing keeps it. Throws NOT_FOUND. */
  explain(id: string, options?: CallOptions): Promise<ExplainJobResponse> {
    return this.#caller.unary((o) => this.#client.explainJob({ id }, o), options);
  }

  /** Jobs, newest first. */
  list(filter: JobFilter = {}, options?: CallOptions): Pager<Job> {
    return new Pager(async (pageToken) => {
      const request = {
        pageToken,
        pageSize: filter.pageSize ?? 0,
        statuses: (filter.statuses ?? []).map(toJobStatus),
        type: filter.type ?? "",
      };
      const page = await this.#caller.unary((o) => this.#client.listJobs(request, o), options);
      return { items: page.jobs, nextPageToken: page.nextPageToken };
    });
  }

  /** Asks to cancel a job; the job as it then stands. Throws NOT_FOUND, WRONG_STATE. */
  async cancel(id: string, options: CallOptions & { readonly detail?: string } = {}): Promise<Job> {
    const request = { id, detail: options.detail ?? "" };
    const answer = await this.#caller.unary((o) => this.#client.cancelJob(request, o), options);
    return present(answer.job, "job");
  }

  /**
   * Answers the job's agent, which asks because a budget has ended; the job as it
   * then stands. Safe to repeat. Throws NOT_FOUND, and WRONG_STATE if it asks
   * nothing, or not that.
   */
  async answer(id: string, input: AgentAnswerInput, options?: CallOptions): Promise<Job> {
    const request = { id, answer: toAgentAnswer(input) };
    const answer = await this.#caller.unary((o) => this.#client.answerJob(request, o), options);
    return present(answer.job, "job");
  }

  /** Makes a new job with the spec of an ended one. Throws NOT_FOUND, WRONG_STATE. */
  async retry(id: string, options: CreateJobOptions = {}): Promise<CreatedJob> {
    const idempotencyKey = options.idempotencyKey ?? createIdempotencyKey();
    const request = { id, idempotencyKey };
    const made = await this.#caller.unary((o) => this.#client.retryJob(request, o), options);
    return { jobId: made.jobId, job: present(made.job, "job"), replayed: made.replayed };
  }

  /**
   * Does failed and cancelled jobs again that a filter picks, newest first, as
   * the list is walked over. Safe to repeat: a job that this has retried
   * already is passed over. Throws RATE_LIMITED.
   */
  retryAll(filter: RetryFilter = {}, options?: CallOptions): Pager<RetriedJob> {
    return new Pager(async (pageToken) => {
      const request = {
        pageToken,
        pageSize: filter.pageSize ?? 0,
        statuses: (filter.statuses ?? []).map(toJobStatus),
        reason: filter.reason ?? "",
        labels: { ...filter.labels },
      };
      const page = await this.#caller.unary((o) => this.#client.retryJobs(request, o), options);
      return { items: page.jobs, nextPageToken: page.nextPageToken };
    });
  }

  /** The events that are there now, in order, without waiting for more. */
  async *events(
    id: string,
    query: { readonly from?: number; readonly pageSize?: number } = {},
    options?: CallOptions,
  ): AsyncGenerator<JobEvent, void, undefined> {
    let from = query.from ?? 1;
    while (from > 0) {
      const request = { id, from, pageSize: query.pageSize ?? 0 };
      const page = await this.#caller.unary((o) => this.#client.listJobEvents(request, o), options);
      yield* page.events;
      if (page.events.length === 0) return;
      from = page.nextFrom;
    }
  }

  /**
   * A job's events live, from any number on, until its result. Resumes over
   * broken connections; throws `JobStreamError` if an event is missing or the
   * log differs from the result's SHA-256.
   */
  watch(id: string, options: WatchOptions = {}): AsyncGenerator<JobEvent, void, undefined> {
    const { headers } = options;
    return watchEvents(
      {
        open: (from, signal) =>
          this.#client.watchJob({ id, from }, { signal, ...(headers && { headers }) }),
        retry: this.#retry,
        loadSha256: this.#loadSha256,
      },
      options,
    );
  }

  /**
   * The raw bytes of a job's log, as they come: of the last attempt, or as
   * `options` say. Resumes over broken connections once the job has ended.
   * Throws NOT_FOUND, also where retention has removed the log.
   */
  async *log(id: string, options: LogOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { readLog } = await import("../job-log.ts");
    yield* readLog({ get: this.#get, retry: this.#retry }, id, options);
  }

  /** Waits for a job's end without looking at its log. */
  async wait(id: string, options: WatchOptions = {}): Promise<JobResult> {
    const job = await this.get(id, options.signal && { signal: options.signal });
    if (job.result !== undefined) return job.result;
    for await (const { kind } of this.watch(id, { from: job.lastSeq + 1, ...options })) {
      if (kind.case === "result") return kind.value;
    }
    throw new DevmeshApiError("the job's events ended without a result", {
      reason: "INTERNAL",
      code: Code.Internal,
    });
  }
}
