/** The rules of jobs: defaults, fingerprints, refusals. Knows no transport and no SQL. */
import { createHash } from "node:crypto";
import { create, toJson } from "@bufbuild/protobuf";
import type { AgentAnswer } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { type Job, type JobSpec, JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import type { Features } from "@devmesh/mesh/interceptors";
import type { Ids } from "@devmesh/mesh/runtime";
import type { Agents } from "../agents/agents.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { Queue } from "../queue/queue.ts";
import { requireAgent } from "./job-agent.ts";
import { openQuestion } from "./job-answers.ts";
import { blocksOf, type JobBlock, questionBlock } from "./job-explain.ts";
import { requireModules } from "./job-modules.ts";
import { requireNetwork } from "./job-network.ts";
import type { CancelInput, JobStore, ListQuery } from "./job-store.ts";

/** How long an idempotency key answers its job: seven days. */
const keyTtlMs = 7 * 24 * 60 * 60 * 1000;

/** Attempts in all where the spec names none. */
const defaultAttempts = 2;

/** How long `retryMany` knows which jobs it has retried: as good as for ever. */
const retriedTtlMs = 10 * 365 * 24 * 60 * 60 * 1000;

/**
 * Refusals of one job that say nothing of the next: its key is in other use,
 * its workspace is gone, no runner isolates it, its module is off.
 */
const passedOver: ReadonlySet<string> = new Set([
  ...["KEY_REUSED", "NOT_FOUND", "ISOLATION_UNAVAILABLE", "FEATURE_DISABLED"],
]);

/** What jobs need. */
export interface JobsOptions {
  readonly store: JobStore;
  readonly blobs: BlobStore;
  readonly agents: Agents;
  readonly queue: Queue;
  readonly ids: Ids;
  /** Which modules are on. Default: all. */
  readonly features?: Features;
}

/** A call that makes a job. */
export interface CreateInput {
  readonly owner: string;
  readonly spec: JobSpec;
  /** Empty: every call makes a job. */
  readonly idempotencyKey: string;
}

/** Which ended jobs to do again. */
export interface RetryManyInput {
  /** Which jobs to look at; of `statuses` only final ones. */
  readonly query: ListQuery;
  /** Only jobs that ended with this reason. Empty: any. */
  readonly reason: string;
  /** Only jobs that have all of these labels. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Jobs that were done again, and where to go on. */
export interface RetriedMany {
  readonly jobs: readonly { readonly id: string; readonly newId: string }[];
  /** The last job that was looked at, where more may follow. */
  readonly lastId: string | undefined;
}

/** The job that a call made, now or (`replayed`) before. */
export interface Accepted {
  readonly job: Job;
  readonly replayed: boolean;
}

/** Accepts, finds, cancels and retries jobs. */
export class Jobs {
  readonly #store: JobStore;
  readonly #blobs: BlobStore;
  readonly #agents: Agents;
  readonly #queue: Queue;
  readonly #ids: Ids;
  readonly #features: Features;

  constructor({ store, blobs, agents, queue, ids, features = () => true }: JobsOptions) {
    this.#store = store;
    this.#blobs = blobs;
    this.#agents = agents;
    this.#queue = queue;
    this.#ids = ids;
    this.#features = features;
  }

  /**
   * Accepts a job. A repeated call is answered before anything is checked.
   * Throws KEY_REUSED, NOT_FOUND (workspace), RATE_LIMITED (the queue is full),
   * INVALID_FIELD for a network policy that contradicts itself,
   * and ISOLATION_UNAVAILABLE if runners are there and none can give what is
   * asked.
   */
  create(input: CreateInput): Promise<Accepted> {
    return this.#accept(input, "", keyTtlMs);
  }

  /** One job. Throws NOT_FOUND. */
  async get(id: string): Promise<Job> {
    const job = await this.#store.get(id);
    if (job === undefined) throw notFound("job", id);
    return job;
  }

  /** Jobs, newest first. */
  list(query: ListQuery): Promise<Job[]> {
    return this.#store.list(query);
  }

  /** Asks to cancel. Throws NOT_FOUND, WRONG_STATE. */
  cancel(id: string, { by, detail }: CancelInput): Promise<Job> {
    // Postgres takes no NUL in a text.
    return this.#store.requestCancel(id, { by, detail: detail.replaceAll("\0", "") });
  }

  /** Answers the agent's question. Throws NOT_FOUND, WRONG_STATE. */
  answer(id: string, answer: AgentAnswer): Promise<Job> {
    const message = answer.message.replaceAll("\0", "");
    return this.#store.answer(id, { ...answer, message });
  }

  /**
   * Makes a new job with an ended one's spec and owner, whose the key is too.
   * Throws WRONG_STATE, and what `create` throws.
   */
  async retry(id: string, idempotencyKey: string): Promise<Accepted> {
    const job = await this.get(id);
    if (!isFinal(job.status) || job.spec === undefined) {
      const state = JobStatus[job.status];
      throw new DevmeshError("WRONG_STATE", `job ${id} is ${state}: only an ended job is retried`, {
        metadata: { state },
      });
    }
    const { owner, spec } = job;
    return this.#accept({ owner, spec, idempotencyKey }, id, keyTtlMs);
  }

  /**
   * Retries each job of a page that the filter picks and that this method has
   * not retried yet, for its own owner. One that could not be accepted now is
   * passed over: `retry` says why. A full queue ends the page early;
   * RATE_LIMITED is thrown if it let none in.
   */
  async retryMany({ query, reason, labels }: RetryManyInput): Promise<RetriedMany> {
    const page = await this.#store.list({ ...query, limit: query.limit + 1 });
    const looked = page.slice(0, query.limit);
    const jobs: { id: string; newId: string }[] = [];
    let lastId: string | undefined;
    for (const job of looked) {
      if (isPicked(job, reason, labels)) {
        try {
          const newId = await this.#retryOnce(job);
          if (newId !== undefined) jobs.push({ id: job.id, newId });
        } catch (error) {
          const isFull = error instanceof DevmeshError && error.reason === "RATE_LIMITED";
          if (!isFull || jobs.length === 0) throw error;
          return { jobs, lastId };
        }
      }
      lastId = job.id;
    }
    return { jobs, lastId: page.length > looked.length ? lastId : undefined };
  }

  /** Everything that keeps a job waiting. Throws NOT_FOUND. */
  async explain(id: string): Promise<{ status: JobStatus; blocks: JobBlock[] }> {
    const facts = await this.#store.explain(id);
    if (facts === undefined) throw notFound("job", id);
    const { status } = facts.job;
    const question = await openQuestion(this.#store, facts.job);
    if (question !== undefined) return { status, blocks: [questionBlock(id, question)] };
    return { status, blocks: blocksOf(facts, await this.#agents.list()) };
  }

  /** The id of the new job; undefined if the job was retried before, or is passed over. */
  async #retryOnce({ id, owner, spec }: Job): Promise<string | undefined> {
    if (spec === undefined) return undefined;
    try {
      const input = { owner, spec, idempotencyKey: `retry:${id}` };
      const { job, replayed } = await this.#accept(input, id, retriedTtlMs);
      return replayed ? undefined : job.id;
    } catch (error) {
      if (error instanceof DevmeshError && passedOver.has(error.reason)) return undefined;
      throw error;
    }
  }

  async #accept(
    { owner, spec, idempotencyKey }: CreateInput,
    retryOf: string,
    ttlMs: number,
  ): Promise<Accepted> {
    const key = { value: idempotencyKey, fingerprint: fingerprint(spec, retryOf), ttlMs };
    const made = idempotencyKey === "" ? undefined : await this.#store.findByKey(owner, key);
    if (made) return { job: made, replayed: true };
    const complete = withDefaults(spec);
    requireModules(complete, this.#features);
    requireNetwork(complete);
    requireAgent(complete);
    await this.#requireWorkspace(complete);
    await this.#agents.requireIsolation(complete.isolation);
    await this.#queue.admit();
    return this.#store.accept({
      id: this.#ids.next("job"),
      owner,
      spec: complete,
      maxAttempts: complete.maxAttempts,
      ...(idempotencyKey !== "" && { key }),
    });
  }

  async #requireWorkspace({ workspaceSha256 }: JobSpec): Promise<void> {
    if (workspaceSha256 === "") return;
    if ((await this.#blobs.stat(workspaceSha256)) !== undefined) return;
    throw new DevmeshError(
      "NOT_FOUND",
      `workspaceSha256: there is no blob ${workspaceSha256}: upload the workspace first (BlobService.PutBlob)`,
      { metadata: { resource: "blob", id: workspaceSha256, field: "workspaceSha256" } },
    );
  }
}

/** True if nothing more happens to a job with this status. */
export function isFinal(status: JobStatus): boolean {
  return (
    status === JobStatus.SUCCEEDED || status === JobStatus.FAILED || status === JobStatus.CANCELLED
  );
}

function isPicked(
  { spec, result }: Job,
  reason: string,
  labels: RetryManyInput["labels"],
): boolean {
  const has = Object.entries(labels).every(([name, value]) => spec?.labels[name] === value);
  return has && (reason === "" || result?.reason === reason);
}

/** The spec with the backend's defaults in it; those of `limits` are the runner's. */
function withDefaults(spec: JobSpec): JobSpec {
  const { isolation, maxAttempts } = spec;
  return create(JobSpecSchema, {
    ...spec,
    isolation: isolation === Isolation.UNSPECIFIED ? Isolation.PROCESS : isolation,
    maxAttempts: maxAttempts === 0 ? defaultAttempts : maxAttempts,
  });
}

/**
 * SHA-256 of what is asked for: the spec's JSON with sorted keys, where a
 * default counts as said and an empty message as absent, and the job that is
 * to be done again.
 */
export function fingerprint(spec: JobSpec, retryOf = ""): string {
  const asked = { spec: toJson(JobSpecSchema, withDefaults(spec)), retryOf };
  const sorted = JSON.stringify(asked, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const entries = Object.entries(value).filter(([, item]) => !isEmptyObject(item));
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return createHash("sha256").update(sorted).digest("hex");
}

function isEmptyObject(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).length === 0
  );
}
