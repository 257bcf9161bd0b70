/**
 * Takes an agent's structured records out of its standard error: RFC 7464
 * JSON text sequences (`RS`, JSON, `LF`). Everything else is log, byte for byte.
 */

import { cutText } from "../cut-text.ts";
import type { Note } from "../job-notes.ts";
import type { CheckpointPiece } from "./checkpoints.ts";

const recordSeparator = 0x1e;
const lineFeed = 0x0a;

/** A record longer than this is log after all. */
const maxRecordBytes = 1024 * 1024;

/** The contract's bounds of a report. */
const bounds = {
  summaryBytes: 65_536,
  modelBytes: 256,
  messageBytes: 8_192,
  commandBytes: 1_024,
  commands: 500,
  count: 0xffff_ffff,
};

/** Topics with which the runner itself speaks: an agent that uses one is not believed. */
const reserved: ReadonlySet<string> = new Set([
  ...["agent.question", "agent.answer", "agent.checkpoint", "agent.tests", "agent.end"],
  ...["agent.resume", "agent.harness"],
]);

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
  /** The name of the error that stopped it. Empty: none. */
  readonly reason: string;
  readonly costMicros: number;
  readonly unpricedSteps: number;
  /** Of the budget that stopped it: how much was used, and how much there was. */
  readonly used: number;
  readonly limit: number;
  readonly commands: readonly AgentCommandRecord[];
}

/** A command that an agent ran. */
export interface AgentCommandRecord {
  readonly command: string;
  readonly exitCode: number;
  readonly ms: number;
}

/** A record of an agent. */
export type AgentRecord =
  | { readonly type: "note"; readonly note: Note }
  | { readonly type: "checkpoint"; readonly piece: CheckpointPiece }
  | { readonly type: "checkpointsEnd"; readonly reason: string }
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
  if (value.type === "checkpoint" && typeof value.off === "string") {
    return { type: "checkpointsEnd", reason: text(value.off, bounds.messageBytes) };
  }
  if (value.type === "checkpoint") return { type: "checkpoint", piece: toPiece(value) };
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toNote(fields: Record<string, unknown>): Note {
  const { level, payload } = fields;
  return {
    level: level === "warn" || level === "error" ? level : "info",
    topic: toTopic(fields.topic),
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
    reason: text(fields.reason, bounds.modelBytes),
    costMicros: count(fields.costMicros),
    unpricedSteps: Math.min(count(fields.unpricedSteps), bounds.count),
    used: count(fields.used),
    limit: count(fields.limit),
    commands: list(fields.commands)
      .slice(0, bounds.commands)
      .map(({ command, exitCode, ms }) => ({
        command: text(command, bounds.commandBytes),
        exitCode: Math.min(count(exitCode), 255),
        ms: count(ms),
      })),
  };
}

/** Only what an agent may say is kept: nobody takes its notes for the runner's. */
function toTopic(topic: unknown): string {
  const isOwn = typeof topic === "string" && /^agent\.[a-z]+$/.test(topic) && !reserved.has(topic);
  return isOwn ? topic : "agent";
}

function toPiece(fields: Record<string, unknown>): CheckpointPiece {
  return {
    step: count(fields.step),
    call: text(fields.call, bounds.modelBytes),
    files: list(fields.files).flatMap(({ path, mode, target, data, more }) =>
      isPlainPath(path) && typeof data === "string"
        ? [
            {
              path,
              mode: count(mode) & 0o777,
              target: text(target, 4096),
              data: Buffer.from(data, "base64"),
              more: more === true,
            },
          ]
        : [],
    ),
    deleted: Array.isArray(fields.deleted) ? fields.deleted.filter(isPlainPath) : [],
    last: fields.last === true,
  };
}

/** A path below the work dir: what it is opened with checks it again. */
function isPlainPath(path: unknown): path is string {
  if (typeof path !== "string" || path === "" || path.length > 4096) return false;
  const parts = path.split("/");
  return !path.includes("\0") && !parts.some((part) => ["", ".", ".."].includes(part));
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function text(value: unknown, maxBytes: number): string {
  return typeof value === "string" ? cutText(value, maxBytes) : "";
}

function count(value: unknown): number {
  if (typeof value !== "number" || !(value >= 0)) return 0;
  return Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER);
}
