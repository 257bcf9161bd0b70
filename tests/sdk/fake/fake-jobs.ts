/**
 * A job book in memory that keeps the contract: gap-free numbers, one result,
 * idempotency keys, SHA-256 over the last attempt. Programs are a few words.
 */
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { create, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { AgentReportSchema } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { type JobEvent, JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import {
  type FencedWriteSchema,
  type Job,
  JobSchema,
  type JobSpec,
  JobSpecSchema,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import type {
  Artifact,
  ArtifactSchema,
  CancelReceiptSchema,
} from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { JobBlockSchema, RetryJobsRequest } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import type { FakeBlobs } from "./fake-blobs.ts";

interface Entry {
  readonly job: Job;
  readonly events: JobEvent[];
  readonly changed: EventEmitter;
}

/** What a program may do to its job. */
export interface Stage {
  readonly job: Job;
  stdout(data: string | Uint8Array): void;
  stderr(data: string | Uint8Array): void;
  note(topic: string, message: string): void;
  /** Starts another attempt, as after a lost runner. */
  restart(): void;
  /** Resolves when somebody asks to cancel the job. */
  cancelled(): Promise<void>;
}

/** How a program ended. */
export interface Ending {
  readonly outcome: JobStatus;
  readonly exitCode?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly artifacts?: MessageInitShape<typeof ArtifactSchema>[];
  readonly agent?: MessageInitShape<typeof AgentReportSchema>;
  readonly cancel?: MessageInitShape<typeof CancelReceiptSchema>;
}

/** Runs a job's work. */
export type Play = (stage: Stage, spec: JobSpec) => Promise<Ending>;

/** The jobs of the fake server. */
export class FakeJobs {
  readonly #jobs = new Map<string, Entry>();
  readonly #keys = new Map<string, { readonly id: string; readonly print: string }>();
  readonly #play: Play;
  readonly #blobs: FakeBlobs;
  /** Writes about a job that were refused, by its id. */
  readonly fencedWrites = new Map<string, MessageInitShape<typeof FencedWriteSchema>[]>();
  /** What keeps a job waiting, by its id. */
  readonly blocks = new Map<string, MessageInitShape<typeof JobBlockSchema>[]>();
  readonly #retried = new Set<string>();
  /** Overrides the result's SHA-256; a broken promise that the SDK must notice. */
  forgedSha256: string | undefined;

  constructor(options: { readonly play: Play; readonly blobs: FakeBlobs }) {
    this.#play = options.play;
    this.#blobs = options.blobs;
  }

  accept(spec: JobSpec, key: string, owner: string): { job: Job; replayed: boolean } {
    const print = JSON.stringify(toJson(JobSpecSchema, spec));
    const before = key === "" ? undefined : this.#keys.get(key);
    if (before !== undefined) {
      if (before.print === print) return { job: this.entry(before.id).job, replayed: true };
      throw new DevmeshError("KEY_REUSED", "the idempotency key was used with another request", {
        metadata: { key, job_id: before.id },
      });
    }
    if (spec.workspaceSha256 !== "") this.#blobs.get(spec.workspaceSha256);
    const id = `job_${String(this.#jobs.size + 1).padStart(26, "0")}`;
    const job = create(JobSchema, {
      id,
      owner,
      spec,
      status: JobStatus.QUEUED,
      type: spec.work.case ?? "",
      createTime: timestampNow(),
    });
    const entry: Entry = { job, events: [], changed: new EventEmitter().setMaxListeners(0) };
    this.#jobs.set(id, entry);
    if (key !== "") this.#keys.set(key, { id, print });
    this.#append(entry, { case: "status", value: { status: JobStatus.QUEUED } });
    queueMicrotask(() => void this.#run(entry, spec));
    return { job, replayed: false };
  }

  entry(id: string): Entry {
    const entry = this.#jobs.get(id);
    if (entry === undefined) throw notFound("job", id);
    return entry;
  }

  /** A page of ended jobs, each done again unless it was before. */
  retryMany({ statuses, reason, labels, pageSize, pageToken }: RetryJobsRequest) {
    const wanted = statuses.length > 0 ? statuses : [JobStatus.FAILED];
    const before = pageToken === "" ? Number.POSITIVE_INFINITY : Number(pageToken);
    const older = this.all().filter(({ id }) => Number(id.slice(4)) < before);
    const page = older.slice(0, pageSize || 100);
    const picked = page.filter(
      ({ id, status, result, spec }) =>
        wanted.includes(status) &&
        (reason === "" || result?.reason === reason) &&
        Object.entries(labels).every(([key, value]) => spec?.labels[key] === value) &&
        !this.#retried.has(id),
    );
    const jobs = picked.map(({ id, spec, owner }) => {
      this.#retried.add(id);
      const { job } = this.accept(spec ?? create(JobSpecSchema), "", owner);
      return { id, newId: job.id };
    });
    const last = page.at(-1);
    const isLast = page.length === older.length || last === undefined;
    return { jobs, nextPageToken: isLast ? "" : String(Number(last.id.slice(4))) };
  }

  /** Newest first. */
  all(): Job[] {
    return [...this.#jobs.values()].map((entry) => entry.job).reverse();
  }

  cancel(id: string): Job {
    const entry = this.entry(id);
    if (entry.job.result !== undefined) {
      throw new DevmeshError("WRONG_STATE", "the job has ended", { metadata: { state: "ended" } });
    }
    entry.job.cancelRequested = true;
    entry.changed.emit("cancel");
    return entry.job;
  }

  /** Events from a number on, then the new ones, until the result. */
  async *watch(id: string, from: number, signal: AbortSignal): AsyncGenerator<JobEvent> {
    const entry = this.entry(id);
    for (let next = Math.max(1, from); ; next++) {
      while (entry.events.length < next) {
        if (entry.job.result !== undefined) return;
        await once(entry.changed, "event", { signal });
      }
      const event = entry.events[next - 1];
      if (event === undefined) return;
      yield event;
      if (event.kind.case === "result") return;
    }
  }

  #append(entry: Entry, kind: MessageInitShape<typeof JobEventSchema>["kind"]): void {
    const seq = entry.events.length + 1;
    entry.events.push(create(JobEventSchema, { seq, time: timestampNow(), kind }));
    entry.job.lastSeq = seq;
    entry.changed.emit("event");
  }

  async #run(entry: Entry, spec: JobSpec): Promise<void> {
    const { job } = entry;
    let hash = createHash("sha256");
    let bytes = 0;
    const start = () => {
      hash = createHash("sha256");
      bytes = 0;
      job.attempt++;
      job.status = JobStatus.RUNNING;
      job.startTime = timestampNow();
      job.runner = "runner-1";
      const value = { status: JobStatus.RUNNING, attempt: job.attempt, runner: job.runner };
      this.#append(entry, { case: "status", value });
    };
    const log = (stream: LogStream, data: string | Uint8Array) => {
      const raw = typeof data === "string" ? new TextEncoder().encode(data) : data;
      hash.update(raw);
      bytes += raw.length;
      this.#append(entry, { case: "log", value: { stream, data: raw } });
    };
    start();
    const ending = await this.#play(
      {
        job,
        stdout: (data) => log(LogStream.STDOUT, data),
        stderr: (data) => log(LogStream.STDERR, data),
        note: (topic, message) =>
          this.#append(entry, { case: "note", value: { level: "info", topic, message } }),
        restart: start,
        cancelled: async () => {
          if (!job.cancelRequested) await once(entry.changed, "cancel");
        },
      },
      spec,
    );
    const result = {
      driver: "fake",
      isolation: Isolation.PROCESS,
      ...ending,
      logSha256: this.forgedSha256 ?? hash.digest("hex"),
      logBytes: BigInt(bytes),
    };
    const ended = create(JobEventSchema, { kind: { case: "result", value: result } });
    if (ended.kind.case !== "result") return;
    job.status = ended.kind.value.outcome;
    job.result = ended.kind.value;
    job.endTime = timestampNow();
    this.#append(entry, { case: "result", value: result });
  }
}

/** An artifact of content that lies in the blob store. */
export function artifactOf(
  blobs: FakeBlobs,
  name: string,
  content: Uint8Array,
): Pick<Artifact, "name" | "sha256" | "sizeBytes" | "mediaType"> {
  return {
    name,
    sha256: blobs.put(content),
    sizeBytes: BigInt(content.length),
    mediaType: "application/octet-stream",
  };
}
