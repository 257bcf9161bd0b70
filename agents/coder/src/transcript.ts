/**
 * Writes the conversation as events from which the work can go on: one for each
 * model turn and one for each call with its result. What is too large for one
 * event is spread over several (turns) or cut with a hash (results).
 */
import type { ModelTurn } from "./model/chat-model.ts";
import type { Records } from "./records.ts";
import { cutWithHash, oneLine } from "./text.ts";
import type { CallResult } from "./tools/toolbox.ts";

/** An event's payload may have 64 KiB; what JSON adds must fit, too. */
const maxPieceBytes = 40 * 1024;

/** A turn that is larger is not kept whole: it is asked for again. */
const maxTurnBytes = 4 * 1024 * 1024;

const maxResultBytes = 24 * 1024;

/** A turn with its number and how long it took. */
export interface TurnFacts {
  readonly step: number;
  readonly ms: number;
  readonly protocol: "native" | "text";
}

/** A call's facts. */
export interface CallFacts {
  readonly step: number;
  readonly id: string;
  readonly name: string;
  readonly ms: number;
  readonly changed: boolean;
}

/** Writes to the records. */
export class Transcript {
  readonly #records: Records;

  constructor(records: Records) {
    this.#records = records;
  }

  /** The model answered. */
  turn(turn: ModelTurn, { step, ms, protocol }: TurnFacts): void {
    const { text, calls, cut, inputTokens, outputTokens, exactUsage, costMicros, model } = turn;
    // Redacted as a whole: a secret must not come apart at the edge of a piece.
    const said = this.#records.redact(JSON.stringify({ text, calls }));
    const isWhole = Buffer.byteLength(said) <= maxPieceBytes;
    const pieces = isWhole ? [] : piecesOf(said);
    for (const [index, piece] of pieces.entries()) {
      const payload = { step, part: index + 1, of: pieces.length, piece };
      const message = `turn ${step}, part ${index + 1} of ${pieces.length}`;
      this.#records.note("agent.turn", "info", message, payload);
    }
    this.#records.note("agent.turn", "info", `turn ${step}: ${turnText(turn)}`, {
      step,
      tool: "",
      ms,
      inputTokens,
      outputTokens,
      exactUsage,
      ...(costMicros !== undefined && { costMicros }),
      provider: model.includes("/") ? model.slice(0, model.indexOf("/")) : "",
      model,
      protocol,
      cut,
      ...(isWhole ? { text, calls } : { parts: pieces.length }),
    });
  }

  /** A call was done. */
  call({ step, id, name, ms, changed }: CallFacts, { outcome, text, command }: CallResult): void {
    const isBad = outcome === "failed" || outcome === "malformed";
    const message = `${oneLine(name, 100)}: ${oneLine(text)}`;
    this.#records.note("agent.call", isBad ? "warn" : "info", message, {
      step,
      tool: oneLine(name, 100),
      id,
      ms,
      inputTokens: 0,
      outputTokens: 0,
      outcome,
      changed,
      result: fitting(text),
      resultBytes: Buffer.byteLength(text),
      ...(command && { command: { ...command, line: cutWithHash(command.line, 900) } }),
    });
  }
}

/** JSON writes some characters with six. */
function fitting(text: string): string {
  let bytes = maxResultBytes;
  let cut = cutWithHash(text, bytes);
  while (Buffer.byteLength(JSON.stringify(cut)) > maxPieceBytes) {
    bytes = Math.floor(bytes / 2);
    cut = cutWithHash(text, bytes);
  }
  return cut;
}

/** Pieces of JSON text; none where it is more than is kept. */
function piecesOf(json: string): string[] {
  if (Buffer.byteLength(json) > maxTurnBytes) return [];
  const pieces: string[] = [];
  // A character has at most three bytes of UTF-8 for one of UTF-16, and JSON doubles its quotes.
  const size = Math.floor(maxPieceBytes / 6);
  for (let at = 0; at < json.length; ) {
    const isHalf = /[\ud800-\udbff]/.test(json[at + size - 1] ?? "");
    const end = at + size - (isHalf ? 1 : 0);
    pieces.push(json.slice(at, end));
    at = end;
  }
  return pieces;
}

function turnText({ calls, text }: ModelTurn): string {
  if (calls.length > 0) return calls.map(({ name }) => oneLine(name, 100)).join(", ");
  return text.trim() === "" ? "no answer" : oneLine(text);
}
