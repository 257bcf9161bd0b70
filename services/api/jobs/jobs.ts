/** The rules of jobs: defaults, fingerprints, refusals. Knows no transport and no SQL. */
import { createHash } from "node:crypto";
import { create, toJson } from "@bufbuild/protobuf";
import {
  Isolation,
  type Job,
  type JobSpec,
  JobSpecSchema,
  JobStatus,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import type { Ids } from "@devmesh/mesh/runtime";
import type { Agents } from "../agents/agents.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { CancelInput, JobStore, ListQuery } from "./job-store.ts";

/** How long an idempotency key answers its job: seven days. */
export const keyTtlMs = 7 * 24 * 60 * 60 * 1000;

/** Attempts in all where the spec names none. */
const defaultAttempts = 2;

/** What jobs need. */
export interface JobsOptions {
  readonly store: JobStore;
  readonly blobs: BlobStore;
  readonly agents: Agents;
  readonly ids: Ids;
}

/** A call that makes a job. */
export interface CreateInput {
  readonly owner: string;
  readonly spec: JobSpec;
  /** Empty: every call makes a job. */
  readonly idempotencyKey: string;
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
  readonly #ids: Ids;

  constructor({ store, blobs, agents, ids }: JobsOptions) {
    this.#store = store;
    this.#blobs = blobs;
    this.#agents = agents;
    this.#ids = ids;
  }

  /**
   * Accepts a job. Throws KEY_REUSED, NOT_FOUND (workspace), and
   * ISOLATION_UNAVAILABLE if runners are there and none can give what is asked.
   */
  create(input: CreateInput): Promise<Accepted> {
    return this.#accept(input, "");
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

  /** Makes a new job with an ended one's spec. Throws WRONG_STATE, and what `create` throws. */
  async retry(id: string, owner: string, idempotencyKey: string): Promise<Accepted> {
    const job = await this.get(id);
    if (!isFinal(job.status) || job.spec === undefined) {
      const state = JobStatus[job.status];
      throw new DevmeshError("WRONG_STATE", `job ${id} is ${state}: only an ended job is retried`, {
        metadata: { state },
      });
    }
    return this.#accept({ owner, spec: job.spec, idempotencyKey }, id);
  }

  async #accept({ owner, spec, idempotencyKey }: CreateInput, retryOf: string): Promise<Accepted> {
    const complete = withDefaults(spec);
    await this.#requireWorkspace(complete);
    await this.#agents.requireIsolation(complete.isolation);
    const { maxAttempts } = complete;
    const key = { value: idempotencyKey, fingerprint: fingerprint(spec, retryOf), ttlMs: keyTtlMs };
    return this.#store.accept({
      id: this.#ids.next("job"),
      owner,
      spec: complete,
      maxAttempts,
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
