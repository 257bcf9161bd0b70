/**
 * Takes an agent's structured records out of its standard error: RFC 7464
 * JSON text sequences (`RS`, JSON, `LF`). Everything else is log.
 */
import type { Note } from "./event-shipper.ts";

const recordSeparator = 0x1e;
const lineFeed = 0x0a;

/** A record longer than this is log after all. */
const maxRecordBytes = 1024 * 1024;

/** What an agent reports at its end. */
export interface AgentReportRecord {
  readonly summary: string;
  readonly steps: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly model: string;
  readonly finished: boolean;
  /** Which limit or failure stopped it: `steps`, `tokens`, `time`, `error`, or empty. */
  readonly stopped: string;
  readonly message: string;
}

/** A record of an agent. */
export type AgentRecord =
  | { readonly type: "note"; readonly note: Note }
  | { readonly type: "report"; readonly report: AgentReportRecord };

/** Splits a stream of bytes into log and records. */
export class AgentRecordSplitter {
  #record: Buffer | undefined;

  /** What a chunk holds: log bytes and records, in order. */
  push(chunk: Buffer): (Buffer | AgentRecord)[] {
    const out: (Buffer | AgentRecord)[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#record === undefined) {
        const start = rest.indexOf(recordSeparator);
        if (start === -1) {
          out.push(rest);
          break;
        }
        if (start > 0) out.push(rest.subarray(0, start));
        this.#record = Buffer.alloc(0);
        rest = rest.subarray(start + 1);
        continue;
      }
      const end = rest.indexOf(lineFeed);
      const part = end === -1 ? rest : rest.subarray(0, end);
      this.#record = Buffer.concat([this.#record, part]);
      rest = end === -1 ? Buffer.alloc(0) : rest.subarray(end + 1);
      if (end !== -1 || this.#record.length > maxRecordBytes) out.push(this.#take());
    }
    return out;
  }

  /** What is left at the end: an unfinished record is log. */
  end(): Buffer {
    const left = this.#record ?? Buffer.alloc(0);
    this.#record = undefined;
    return left;
  }

  #take(): Buffer | AgentRecord {
    const bytes = this.#record ?? Buffer.alloc(0);
    this.#record = undefined;
    return parseRecord(bytes) ?? Buffer.concat([bytes, Buffer.from("\n")]);
  }
}

function parseRecord(bytes: Buffer): AgentRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch {
    // Not a record of ours: it stays in the log.
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  if (fields.type === "note") return { type: "note", note: toNote(fields) };
  if (fields.type === "report") return { type: "report", report: toReport(fields) };
  return undefined;
}

function toNote(fields: Record<string, unknown>): Note {
  const { level, payload } = fields;
  return {
    level: level === "warn" || level === "error" ? level : "info",
    topic: text(fields.topic, 64) || "agent",
    message: text(fields.message, 1000),
    ...(typeof payload === "object" &&
      payload !== null && { payload: payload as Record<string, unknown> }),
  };
}

function toReport(fields: Record<string, unknown>): AgentReportRecord {
  return {
    summary: text(fields.summary, 16_000),
    steps: count(fields.steps),
    inputTokens: count(fields.inputTokens),
    outputTokens: count(fields.outputTokens),
    model: text(fields.model, 64),
    finished: fields.finished === true,
    stopped: text(fields.stopped, 64),
    message: text(fields.message, 1000),
  };
}

function text(value: unknown, maxChars: number): string {
  return typeof value === "string" ? value.slice(0, maxChars) : "";
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? Math.floor(value) : 0;
}
