/** Notes as the contract bounds them, whoever wrote them. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import { type JobNote, JobNoteSchema } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { cutText } from "./cut-text.ts";

/** The bounds; a larger or deeper payload is left out. */
const bounds = { topicBytes: 64, messageBytes: 4096, payloadBytes: 64 * 1024, payloadDepth: 32 };

/** A note as the runner writes it. */
export interface Note {
  readonly level: "info" | "warn" | "error";
  readonly topic: string;
  readonly message: string;
  readonly payload?: Readonly<Record<string, unknown>>;
}

/** The message of a note, and its size in bytes. */
export function toJobNote({ level, topic, message, payload }: Note): {
  note: JobNote;
  bytes: number;
} {
  const text = payload === undefined ? "" : jsonOf(payload);
  const note = create(JobNoteSchema, {
    level,
    topic: cutText(topic, bounds.topicBytes),
    message: cutText(message, bounds.messageBytes),
    ...(text !== "" && { payload: JSON.parse(text) as JsonObject }),
  });
  return { note, bytes: Buffer.byteLength(note.message) + Buffer.byteLength(text) };
}

/** The payload as JSON; empty where it is too much. */
function jsonOf(payload: Readonly<Record<string, unknown>>): string {
  if (!isWithinDepth(payload, bounds.payloadDepth)) return "";
  const text = JSON.stringify(payload, (_key, value: unknown) =>
    typeof value === "string" ? value.toWellFormed() : value,
  );
  return Buffer.byteLength(text) <= bounds.payloadBytes ? text : "";
}

function isWithinDepth(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((item) => isWithinDepth(item, depth - 1));
}
