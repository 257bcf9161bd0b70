/**
 * Takes an agent's structured records out of its standard error: RFC 7464
 * JSON text sequences (`RS`, JSON, `LF`). Everything else is log, byte for byte.
 */
import { cutText } from "./cut-text.ts";
import type { Note } from "./job-notes.ts";

const recordSeparator = 0x1e;
const lineFeed = 0x0a;

/** A record longer than this is log after all. */
const maxRecordBytes = 1024 * 1024;

/** The contract's bounds of a report. */
const bounds = { summaryBytes: 65_536, modelBytes: 256, messageBytes: 8_192, count: 0xffff_ffff };

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
  /** The record that has begun, with its separator. */
  #record: Buffer[] | undefined;
  #recordBytes = 0;

  /** What a chunk holds: log bytes and records, in order. */
  push(chunk: Buffer): (Buffer | AgentRecord)[] {
    const out: (Buffer | AgentRecord)[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      const inRecord = this.#record !== undefined;
      const at = rest.indexOf(inRecord ? lineFeed : recordSeparator);
      if (inRecord) {
        const end = at === -1 ? rest.length : at + 1;
        this.#keep(rest.subarray(0, end));
        rest = rest.subarray(end);
        if (at !== -1) out.push(this.#take());
        else if (this.#recordBytes > maxRecordBytes) out.push(this.end());
      } else {
        const start = at === -1 ? rest.length : at;
        if (start > 0) out.push(rest.subarray(0, start));
        if (at !== -1) this.#keep(rest.subarray(start, start + 1));
        rest = rest.subarray(start + 1);
      }
    }
    return out;
  }

  /** What is left at the end: an unfinished record is log. */
  end(): Buffer {
    const left = Buffer.concat(this.#record ?? []);
    this.#record = undefined;
    this.#recordBytes = 0;
    return left;
  }

  #keep(part: Buffer): void {
    this.#record ??= [];
    // Copied: it outlives the reader's chunk.
    this.#record.push(Buffer.from(part));
    this.#recordBytes += part.length;
  }

  #take(): Buffer | AgentRecord {
    const bytes = this.end();
    return parseRecord(bytes.toString("utf8", 1)) ?? bytes;
  }
}

function parseRecord(json: string): AgentRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // Not a record of ours: it stays in the log.
    return undefined;
  }
  if (!isObject(value)) return undefined;
  if (value.type === "note") return { type: "note", note: toNote(value) };
  if (value.type === "report") return { type: "report", report: toReport(value) };
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toNote(fields: Record<string, unknown>): Note {
  const { level, payload } = fields;
  return {
    level: level === "warn" || level === "error" ? level : "info",
    topic: typeof fields.topic === "string" && fields.topic !== "" ? fields.topic : "agent",
    message: typeof fields.message === "string" ? fields.message : "",
    ...(isObject(payload) && { payload }),
  };
}

function toReport(fields: Record<string, unknown>): AgentReportRecord {
  return {
    summary: text(fields.summary, bounds.summaryBytes),
    steps: Math.min(count(fields.steps), bounds.count),
    inputTokens: count(fields.inputTokens),
    outputTokens: count(fields.outputTokens),
    model: text(fields.model, bounds.modelBytes),
    finished: fields.finished === true,
    stopped: text(fields.stopped, bounds.modelBytes),
    message: text(fields.message, bounds.messageBytes),
  };
}

function text(value: unknown, maxBytes: number): string {
  return typeof value === "string" ? cutText(value, maxBytes) : "";
}

function count(value: unknown): number {
  if (typeof value !== "number" || !(value >= 0)) return 0;
  return Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER);
}
