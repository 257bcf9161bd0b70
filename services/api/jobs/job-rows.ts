/**
 * Rows of the tables `jobs` and `job_events`, and the messages they stand for.
 * Both SQL dialects and the memory store share them; SQL is left to the stores.
 */
import {
  create,
  type DescMessage,
  fromJsonString,
  type MessageShape,
  toJsonString,
} from "@bufbuild/protobuf";
import { type Duration, durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import {
  type JobEvent,
  JobEventSchema,
  JobNoteSchema,
  type JobStatusChange,
  JobStatusChangeSchema,
  JobTrimSchema,
  LogStream,
} from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import {
  type Job,
  JobSchema,
  type JobSpec,
  JobSpecSchema,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import { type JobResult, JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { invalidField } from "@devmesh/mesh/errors";
import { placementOf } from "./job-placement.ts";

/** A status as the tables have it. */
export type StatusName = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** A time as a driver hands it out. */
export type RowTime = string | Date;

/**
 * What keeps a queued job from being taken: nothing, the time in
 * `available_at`, or its concurrency key, which has no free slot.
 */
export type Hold = "" | "delay" | "key";

/** A row of `jobs`. Drivers differ in how they hand out times, flags and 64-bit numbers. */
export interface JobRow {
  readonly id: string;
  readonly owner: string;
  readonly type: string;
  readonly status: StatusName;
  readonly isolation: number;
  /** What a runner must have to take it; see `job-placement.ts`. */
  readonly placement: string;
  /** JobSpec as JSON. */
  readonly spec: string;
  readonly max_attempts: number;
  readonly attempt: number;
  readonly epoch: number | string;
  readonly runner: string;
  readonly last_seq: number | string;
  /** The number of the last RUNNING event; 0 before the first. */
  readonly attempt_seq: number | string;
  readonly cancel_requested: number | boolean;
  readonly cancel_detail: string;
  readonly cancel_by: string;
  readonly cancel_at: RowTime | null;
  readonly priority: number;
  readonly hold: Hold;
  readonly available_at: RowTime | null;
  /** Empty: no bound on how many run at once. */
  readonly concurrency_key: string;
  readonly concurrency_limit: number;
  /** The last lease whose failed end led to another attempt; 0: none. */
  readonly retried_epoch: number | string;
  readonly created_at: RowTime;
  readonly started_at: RowTime | null;
  readonly ended_at: RowTime | null;
  /** The number of the event whose question was answered last; 0: none. */
  readonly answer_seq: number | string;
  /** AgentAnswer as JSON. Empty: none. */
  readonly answer: string;
  /** JobResult as JSON. */
  readonly result: string | null;
}

/** The columns of JobRow, for SELECT and RETURNING. */
export const jobColumns = `id, owner, type, status, isolation, placement, spec, max_attempts, attempt, epoch,
  runner, last_seq, attempt_seq, cancel_requested, cancel_detail, cancel_by, cancel_at, priority,
  hold, available_at, concurrency_key, concurrency_limit, retried_epoch, created_at, started_at,
  ended_at, answer_seq, answer, result`;

/** What an event's row says beside its job, number and time. */
export interface EventBody {
  readonly kind: "log" | "status" | "note" | "trim" | "result";
  readonly level: string;
  /** Logs only. */
  readonly stream: "stdout" | "stderr" | null;
  /** For people; the payload is the truth. */
  readonly message: string;
  /** Logs: the raw bytes. Else the message of that kind as JSON. */
  readonly payload: Uint8Array | string;
}

/** A row of `job_events`. */
export interface EventRow extends EventBody {
  readonly seq: number | string;
  readonly ts: RowTime;
}

const nameOfStatus: Partial<Record<JobStatus, StatusName>> = {
  [JobStatus.QUEUED]: "queued",
  [JobStatus.RUNNING]: "running",
  [JobStatus.SUCCEEDED]: "succeeded",
  [JobStatus.FAILED]: "failed",
  [JobStatus.CANCELLED]: "cancelled",
};

const statusOfName: Record<StatusName, JobStatus> = {
  queued: JobStatus.QUEUED,
  running: JobStatus.RUNNING,
  succeeded: JobStatus.SUCCEEDED,
  failed: JobStatus.FAILED,
  cancelled: JobStatus.CANCELLED,
};

/** All types that a job may have. */
export const jobTypes = ["command", "agent"] as const;

/** All statuses that a job may have. */
export const statusNames = Object.keys(statusOfName) as StatusName[];

/** The name of a status in the tables; undefined for one that no job has. */
export function statusName(status: JobStatus): StatusName | undefined {
  return nameOfStatus[status];
}

/** True for the statuses that are final. */
export function isFinal(status: StatusName): boolean {
  return status === "succeeded" || status === "failed" || status === "cancelled";
}

/** What follows from a new job's spec. */
export interface SpecColumns {
  readonly type: string;
  readonly isolation: number;
  readonly placement: string;
  /** JobSpec as JSON. */
  readonly spec: string;
  readonly priority: number;
  readonly concurrency_key: string;
  readonly concurrency_limit: number;
  readonly hold: Hold;
  /** How long it is held back; undefined: not at all. */
  readonly delayMs: number | undefined;
  /** How long it may wait for its first start; undefined: for ever. */
  readonly queueTimeoutMs: number | undefined;
}

/** The columns of a new job that follow from its spec. Throws INVALID_FIELD if it has no work. */
export function specColumns(spec: JobSpec): SpecColumns {
  const type = spec.work.case;
  if (type === undefined) throw invalidField("spec.work", "say what the job is to do");
  const { concurrency, startDelay, limits } = spec;
  const delayMs = positive(startDelay);
  return {
    type,
    isolation: Math.max(spec.isolation, Isolation.PROCESS),
    placement: placementOf(spec.runnerLabels),
    spec: toJsonString(JobSpecSchema, spec),
    priority: spec.priority,
    concurrency_key: concurrency?.key ?? "",
    concurrency_limit: concurrency === undefined ? 0 : concurrency.limit || 1,
    hold: delayMs !== undefined ? "delay" : concurrency === undefined ? "" : "key",
    delayMs,
    queueTimeoutMs: positive(limits?.queueTimeout),
  };
}

function positive(duration: Duration | undefined): number | undefined {
  const ms = duration === undefined ? 0 : durationMs(duration);
  return ms > 0 ? ms : undefined;
}

/** The spec of a row. */
export function toSpec(row: Pick<JobRow, "spec">): JobSpec {
  return fromJson(JobSpecSchema, row.spec);
}

/** The job that a row stands for. */
export function toJob(row: JobRow): Job {
  const time = (value: RowTime | null) =>
    value === null ? undefined : timestampFromMs(new Date(value).getTime());
  return create(JobSchema, {
    id: row.id,
    status: statusOfName[row.status],
    spec: toSpec(row),
    type: row.type,
    owner: row.owner,
    createTime: time(row.created_at),
    startTime: time(row.started_at),
    endTime: time(row.ended_at),
    attempt: row.attempt,
    runner: row.runner,
    lastSeq: Number(row.last_seq),
    cancelRequested: Boolean(row.cancel_requested),
    availableTime: row.hold === "delay" ? time(row.available_at) : undefined,
    ...(row.result !== null && { result: fromJson(JobResultSchema, row.result) }),
  });
}

/** The event that a row stands for. */
export function toEvent(row: EventRow): JobEvent {
  return create(JobEventSchema, {
    seq: Number(row.seq),
    time: timestampFromMs(new Date(row.ts).getTime()),
    kind: toKind(row),
  });
}

function toKind({ kind, stream, payload }: EventRow): JobEvent["kind"] {
  switch (kind) {
    case "log":
      return {
        case: kind,
        value: {
          $typeName: "devmesh.api.v1.JobLog",
          stream: toStream(stream),
          data: toBytes(payload),
        },
      };
    case "status":
      return { case: kind, value: fromJson(JobStatusChangeSchema, toText(payload)) };
    case "note":
      return { case: kind, value: fromJson(JobNoteSchema, toText(payload)) };
    case "trim":
      return { case: kind, value: fromJson(JobTrimSchema, toText(payload)) };
    case "result":
      return { case: kind, value: fromJson(JobResultSchema, toText(payload)) };
  }
}

function toStream(stream: string | null): LogStream {
  if (stream === "stdout") return LogStream.STDOUT;
  return stream === "stderr" ? LogStream.STDERR : LogStream.UNSPECIFIED;
}

/** What the row of an event says. Throws INVALID_FIELD for what JSON cannot hold. */
export function eventBody({ kind }: Pick<JobEvent, "kind">): EventBody {
  switch (kind.case) {
    case "log": {
      const { stream, data } = kind.value;
      const name =
        stream === LogStream.STDOUT ? "stdout" : stream === LogStream.STDERR ? "stderr" : null;
      return { kind: "log", level: "info", stream: name, message: "", payload: data };
    }
    case "status": {
      const payload = toJson(JobStatusChangeSchema, kind.value);
      const message = statusText(kind.value);
      return { kind: "status", level: "info", stream: null, message, payload };
    }
    case "note": {
      const { level, message } = kind.value;
      return {
        kind: "note",
        level,
        stream: null,
        message,
        payload: toJson(JobNoteSchema, kind.value),
      };
    }
    case "trim": {
      const payload = toJson(JobTrimSchema, kind.value);
      const message = `earlier events are gone: ${kind.value.detail}`;
      return { kind: "trim", level: "info", stream: null, message, payload };
    }
    case "result":
      return resultBody(kind.value);
    case undefined:
      throw invalidField("events.kind", "say what happened");
  }
}

function statusText({ status, attempt, detail, runner }: JobStatusChange): string {
  if (status === JobStatus.RUNNING) return `running on ${runner}, attempt ${attempt}`;
  const name = statusName(status) ?? "";
  return detail === "" ? name : `${name}: ${detail}`;
}

function resultBody(result: JobResult): EventBody {
  const levels: Partial<Record<JobStatus, string>> = {
    [JobStatus.FAILED]: "error",
    [JobStatus.CANCELLED]: "warn",
  };
  const { outcome } = result;
  const message = result.message || (statusName(outcome) ?? "");
  const payload = toJson(JobResultSchema, result);
  return { kind: "result", level: levels[outcome] ?? "info", stream: null, message, payload };
}

/** The size that counts against a page's bytes. */
export function payloadBytes({ payload }: EventBody): number {
  return typeof payload === "string" ? Buffer.byteLength(payload) : payload.byteLength;
}

function toJson<D extends DescMessage>(schema: D, message: MessageShape<D>): string {
  try {
    return toJsonString(schema, message);
  } catch (cause) {
    // `google.protobuf.Value` without a kind, or with NaN.
    throw invalidField(schema.name, cause instanceof Error ? cause.message : String(cause));
  }
}

function fromJson<D extends DescMessage>(schema: D, text: string): MessageShape<D> {
  return fromJsonString(schema, text, { ignoreUnknownFields: true });
}

function toText(payload: Uint8Array | string): string {
  return typeof payload === "string" ? payload : Buffer.from(payload).toString("utf8");
}

function toBytes(payload: Uint8Array | string): Uint8Array {
  if (typeof payload === "string") return Buffer.from(payload);
  return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
}
