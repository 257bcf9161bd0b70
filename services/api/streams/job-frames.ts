/** A job's events as the frames of the WebSocket stream. */
import { isUtf8 } from "node:buffer";
import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type JobEvent,
  JobNoteSchema,
  JobStatusChangeSchema,
  JobTrimSchema,
  LogStream,
} from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { WatchJobResponse } from "@devmesh/gen/devmesh/api/v1/job_service_pb";

/**
 * One event's frame. `payload.seq` is the event's number: a result's is the
 * last of the job, beside its `logSha256`; a trim's is the last that is gone.
 * The socket adds frames of the types `error` and `heartbeat`.
 */
export interface JobFrame {
  readonly type: "log" | "status" | "result" | "note" | "trim";
  /** RFC 3339. */
  readonly ts: string;
  readonly payload: { readonly seq: number };
}

/** Encoded frames by event: a job's watchers share its events, and so the work of encoding them. */
const encoded = new WeakMap<JobEvent, Buffer>();

/**
 * The same as the bytes that go out, made once for all watchers of an event,
 * with the event's number; undefined for keepalives.
 */
export function encodeFrame({
  step,
}: WatchJobResponse): { seq: number; bytes: Buffer } | undefined {
  if (step.case !== "event") return undefined;
  const event = step.value;
  const known = encoded.get(event);
  if (known !== undefined) return { seq: event.seq, bytes: known };
  const frame = toFrame(event);
  if (frame === undefined) return undefined;
  const bytes = Buffer.from(JSON.stringify(frame));
  encoded.set(event, bytes);
  return { seq: event.seq, bytes };
}

/** The frame of an event; undefined for kinds that are not known here. */
function toFrame(event: JobEvent): JobFrame | undefined {
  const { seq, kind } = event;
  const ts = (event.time === undefined ? new Date() : timestampDate(event.time)).toISOString();
  switch (kind.case) {
    case "log":
      return {
        type: "log",
        ts,
        payload: { seq, ...logPayload(kind.value.stream, kind.value.data) },
      };
    case "status":
      return {
        type: "status",
        ts,
        payload: { seq, ...spread(toJson(JobStatusChangeSchema, kind.value)) },
      };
    case "result":
      return {
        type: "result",
        ts,
        payload: { seq, ...spread(toJson(JobResultSchema, kind.value)) },
      };
    case "note":
      return { type: "note", ts, payload: { seq, ...spread(toJson(JobNoteSchema, kind.value)) } };
    case "trim":
      return { type: "trim", ts, payload: { seq, ...spread(toJson(JobTrimSchema, kind.value)) } };
    case undefined:
      return undefined;
  }
}

/** Text where the bytes are UTF-8, base64 where they are not: nothing is replaced. */
function logPayload(stream: LogStream, data: Uint8Array): object {
  const name = stream === LogStream.STDERR ? "stderr" : "stdout";
  return isUtf8(data)
    ? { stream: name, text: Buffer.from(data).toString("utf8") }
    : { stream: name, dataBase64: Buffer.from(data).toString("base64") };
}

function spread(json: unknown): object {
  return json as object;
}
