/** Owns a job's events as `--json` shows them. */
import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type JobEvent, LogStream, timestampDate } from "@devmesh/sdk";
import {
  JobNoteSchema,
  JobResultSchema,
  JobStatusChangeSchema,
  JobTrimSchema,
} from "@devmesh/sdk/raw";

/** `{seq, time, type, …}`; a log's bytes are `text` where they are UTF-8, else `dataBase64`. */
export function eventToJson(event: JobEvent): JsonObject {
  const { kind } = event;
  const head = {
    seq: event.seq,
    time: event.time === undefined ? null : timestampDate(event.time).toISOString(),
  };
  switch (kind.case) {
    case "log": {
      const stream = kind.value.stream === LogStream.STDERR ? "stderr" : "stdout";
      return { ...head, type: "log", stream, ...bytesToJson(kind.value.data) };
    }
    case "status":
      return { ...head, type: "status", ...object(toJson(JobStatusChangeSchema, kind.value)) };
    case "note":
      return { ...head, type: "note", ...object(toJson(JobNoteSchema, kind.value)) };
    case "trim":
      return { ...head, type: "trim", ...object(toJson(JobTrimSchema, kind.value)) };
    case "result":
      return { ...head, type: "result", ...object(toJson(JobResultSchema, kind.value)) };
    case undefined:
      return { ...head, type: "unknown" };
    default:
      return kind satisfies never;
  }
}

function bytesToJson(data: Uint8Array): JsonObject {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data) };
  } catch {
    // Not UTF-8, or cut inside of a character.
    return { dataBase64: Buffer.from(data).toString("base64") };
  }
}

function object(value: JsonValue): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}
