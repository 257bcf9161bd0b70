/** The handlers of `devmesh.api.v1.JobService`: convert, call, convert. */

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  AnswerJobRequest,
  CancelJobRequest,
  CreateJobRequest,
  ExplainJobRequest,
  GetJobRequest,
  JobService,
  ListJobEventsRequest,
  ListJobsRequest,
  RetryJobRequest,
  RetryJobsRequest,
  WatchJobRequest,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { kPrincipal, kSubject } from "@devmesh/mesh/context";
import { invalidField } from "@devmesh/mesh/errors";
import { mapStream } from "@devmesh/mesh/runtime";
import { decodePageToken, encodePageToken } from "../page-token.ts";
import { visibleOwner } from "../tokens/scopes.ts";
import { idempotencyKeyOf } from "./job-convert.ts";
import type { JobStore } from "./job-store.ts";
import type { JobWatch } from "./job-watch.ts";
import type { Jobs } from "./jobs.ts";

/** What the handlers need. */
export interface JobServiceOptions {
  readonly jobs: Jobs;
  readonly store: JobStore;
  readonly watch: JobWatch;
}

/** Jobs: accept, look, explain, answer, watch, cancel, retry. */
export class JobServiceImpl implements ServiceImpl<typeof JobService> {
  readonly #jobs: Jobs;
  readonly #store: JobStore;
  readonly #watch: JobWatch;

  constructor({ jobs, store, watch }: JobServiceOptions) {
    this.#jobs = jobs;
    this.#store = store;
    this.#watch = watch;
  }

  async createJob(req: CreateJobRequest, context: HandlerContext) {
    if (req.spec === undefined) throw invalidField("spec", "is missing");
    const { job, replayed } = await this.#jobs.create({
      owner: context.values.get(kPrincipal).owner,
      spec: req.spec,
      idempotencyKey: idempotencyKeyOf(context, req.idempotencyKey),
    });
    context.values.get(kSubject).resource = job.id;
    return { jobId: job.id, job, replayed };
  }

  async answerJob({ id, answer }: AnswerJobRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    if (answer === undefined) throw invalidField("answer", "is missing");
    return { job: await this.#jobs.answer(id, answer) };
  }

  async getJob({ id }: GetJobRequest) {
    const job = await this.#jobs.get(id);
    return { job, fencedWrites: await this.#store.fencedWrites(id) };
  }

  async listJobs(
    { pageSize, pageToken, statuses, type }: ListJobsRequest,
    context: HandlerContext,
  ) {
    const limit = pageSize === 0 ? 50 : pageSize;
    const query = ["jobs", statuses, type];
    const beforeId = decodePageToken(query, pageToken);
    const owner = visibleOwner(context.values.get(kPrincipal));
    const jobs = await this.#jobs.list({
      limit: limit + 1,
      statuses,
      type,
      ...(owner !== undefined && { owner }),
      ...(beforeId !== undefined && { beforeId }),
    });
    const page = jobs.slice(0, limit);
    const last = page.at(-1);
    const more = jobs.length > limit && last !== undefined;
    return { jobs: page, nextPageToken: more ? encodePageToken(query, last.id) : "" };
  }

  async cancelJob({ id, detail }: CancelJobRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    const by = context.values.get(kPrincipal).id;
    return { job: await this.#jobs.cancel(id, { by, detail }) };
  }

  async retryJob(req: RetryJobRequest, context: HandlerContext) {
    const key = idempotencyKeyOf(context, req.idempotencyKey);
    // Where it is refused, the audit names the job that was to be done again.
    context.values.get(kSubject).resource = req.id;
    const { job, replayed } = await this.#jobs.retry(req.id, key);
    context.values.get(kSubject).resource = job.id;
    return { jobId: job.id, job, replayed };
  }

  async listJobEvents({ id, from, pageSize }: ListJobEventsRequest) {
    const job = await this.#jobs.get(id);
    const maxEvents = pageSize === 0 ? 200 : pageSize;
    const events = await this.#store.readEvents(id, from, { maxEvents, maxBytes: 1 << 20 });
    const last = events.at(-1);
    const next = last === undefined ? Math.max(1, from) : last.seq + 1;
    const isBehindEnd = job.result !== undefined && next > job.lastSeq;
    return { events, nextFrom: isBehindEnd || last?.kind.case === "result" ? 0 : next };
  }

  watchJob({ id, from }: WatchJobRequest, context: HandlerContext) {
    const interval = durationFromMs(this.#watch.keepaliveMs);
    return mapStream(this.#watch.events(id, from, context.signal), (event) => ({
      step:
        event === undefined
          ? { case: "keepalive" as const, value: { interval } }
          : { case: "event" as const, value: event },
    }));
  }

  async retryJobs(req: RetryJobsRequest, context: HandlerContext) {
    const visible = visibleOwner(context.values.get(kPrincipal));
    const { statuses, reason, labels, pageSize, pageToken } = req;
    const asked = ["retries", statuses, reason, Object.entries(labels).sort()];
    const beforeId = decodePageToken(asked, pageToken);
    const { jobs, lastId } = await this.#jobs.retryMany({
      ...{ reason, labels },
      query: {
        limit: pageSize === 0 ? 100 : pageSize,
        statuses: statuses.length === 0 ? [JobStatus.FAILED] : statuses,
        type: "",
        ...(visible !== undefined && { owner: visible }),
        ...(beforeId !== undefined && { beforeId }),
      },
    });
    return {
      jobs: [...jobs],
      nextPageToken: lastId === undefined ? "" : encodePageToken(asked, lastId),
    };
  }

  async explainJob({ id }: ExplainJobRequest) {
    const { status, blocks } = await this.#jobs.explain(id);
    return { status, clear: blocks.length === 0, blocks };
  }
}
