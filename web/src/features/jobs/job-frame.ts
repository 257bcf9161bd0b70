/** Owns reading the frames of a job's WebSocket stream. */

/** One frame; `seq` numbers all but heartbeats, and errors that belong to the connection. */
export type JobFrame =
  | { readonly type: "log"; readonly seq: number; readonly timeMs: number; readonly log: LogPiece }
  | {
      readonly type: "status";
      readonly seq: number;
      readonly timeMs: number;
      readonly change: StatusChange;
    }
  | { readonly type: "note"; readonly seq: number; readonly timeMs: number; readonly note: Note }
  | { readonly type: "result"; readonly seq: number; readonly timeMs: number }
  /** Retention has removed the events from `firstSeq` to `seq`. */
  | {
      readonly type: "trim";
      readonly seq: number;
      readonly timeMs: number;
      readonly firstSeq: number;
      readonly detail: string;
    }
  | { readonly type: "error"; readonly reason: string; readonly message: string }
  | { readonly type: "heartbeat" }
  /** From a newer server; counted, not shown. */
  | { readonly type: "unknown"; readonly seq: number };

/** Output as it was written. */
export interface LogPiece {
  readonly stream: "stdout" | "stderr";
  /** Text, or bytes where they were not UTF-8 by themselves. */
  readonly data: string | Uint8Array;
}

/** A change of status, in words. */
export interface StatusChange {
  readonly status: string;
  readonly attempt: number;
  readonly detail: string;
  readonly runner: string;
}

/** Something worth telling. */
export interface Note {
  readonly level: string;
  readonly topic: string;
  readonly message: string;
}

/** The frame that a message holds; undefined if it is none. */
export function parseFrame(message: unknown): JobFrame | undefined {
  if (typeof message !== "string") return undefined;
  const frame = asRecord(parseJson(message));
  const payload = asRecord(frame.payload);
  const type = text(frame.type);
  if (type === "") return undefined;
  if (type === "heartbeat") return { type };
  if (type === "error") {
    return { type, reason: text(payload.reason), message: text(payload.message ?? payload.detail) };
  }
  const seq = payload.seq;
  if (typeof seq !== "number" || !Number.isSafeInteger(seq) || seq < 1) return undefined;
  const timeMs = timeOf(frame.ts);
  switch (type) {
    case "log":
      return { type, seq, timeMs, log: logOf(payload) };
    case "status":
      return { type, seq, timeMs, change: changeOf(payload) };
    case "note": {
      const { level, topic, message: said } = payload;
      return {
        type,
        seq,
        timeMs,
        note: { level: text(level), topic: text(topic), message: text(said) },
      };
    }
    case "result":
      return { type, seq, timeMs };
    case "trim": {
      const { firstSeq, detail } = payload;
      const first = typeof firstSeq === "number" ? firstSeq : seq;
      return { type, seq, timeMs, firstSeq: first, detail: text(detail) };
    }
    default:
      return { type: "unknown", seq };
  }
}

function logOf(payload: Record<string, unknown>): LogPiece {
  const stream = /stderr$/i.test(text(payload.stream)) ? "stderr" : "stdout";
  const base64 = payload.dataBase64;
  return { stream, data: typeof base64 === "string" ? bytesOf(base64) : text(payload.text) };
}

function changeOf(payload: Record<string, unknown>): StatusChange {
  const { status, attempt, detail, runner } = payload;
  return {
    // `RUNNING`, `running` and `JOB_STATUS_RUNNING` mean the same.
    status: text(status)
      .replace(/^JOB_STATUS_/, "")
      .toLowerCase(),
    attempt: typeof attempt === "number" ? attempt : 0,
    detail: text(detail),
    runner: text(runner),
  };
}

function bytesOf(base64: string): Uint8Array {
  const binary = atob(base64);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function timeOf(ts: unknown): number {
  if (typeof ts === "number") return ts;
  const parsed = typeof ts === "string" ? Date.parse(ts) : Number.NaN;
  return Number.isNaN(parsed) ? 0 : parsed;
}

function parseJson(textOfIt: string): unknown {
  try {
    return JSON.parse(textOfIt);
  } catch (error: unknown) {
    // Not JSON is no frame; the feed counts it as a broken peer.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
