/**
 * Owns the two outputs of the agent: plain lines for people on stdout, and
 * RFC 7464 JSON text sequences for the runner on stderr.
 */
import { cutBytes, oneLine } from "./text.ts";

/** How bad it is. */
export type NoteLevel = "info" | "warn" | "error";

/** A bound on the work. */
export type Budget = "steps" | "tokens" | "cost" | "time";

/** Why the agent ended without finishing. Empty: it finished. */
export type Stopped = "" | Budget | "error";

/** A command that it ran. */
export interface ReportCommand {
  readonly command: string;
  readonly exitCode: number;
  readonly ms: number;
}

/** How the work went; written once, as the last record. */
export interface Report {
  /** The agent's own words on the work; where it did not finish, the last that it said. */
  readonly summary: string;
  /** How many model turns it took. */
  readonly steps: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** The model that answered last. Empty if none did. */
  readonly model: string;
  /** True if the model called `finish`. */
  readonly finished: boolean;
  readonly stopped: Stopped;
  /** Why it stopped, in words. Empty if it finished. */
  readonly message: string;
  /** The reason's name where an error of the backend stopped it, for example `CONTEXT_LENGTH`. */
  readonly reason: string;
  /** What the model calls cost, in millionths of a US dollar, as far as prices are known. */
  readonly costMicros: number;
  /** How many of its turns have no known price. */
  readonly unpricedSteps: number;
  /** How much of the budget that stopped it was used, and how much there was. */
  readonly used: number;
  readonly limit: number;
  /** The commands that it ran, in order; the first 500. */
  readonly commands: readonly ReportCommand[];
}

/** Facts of a note, for programs: JSON. */
export type NotePayload = Readonly<Record<string, unknown>>;

/** What kind of note. */
export type Topic = "agent.turn" | "agent.call" | "agent.log";

/** Files that changed since the checkpoint before. The last piece says `last`. */
export interface CheckpointPiece {
  /** The call after which they are so. */
  readonly step: number;
  readonly call: string;
  readonly files: readonly CheckpointFile[];
  readonly deleted: readonly string[];
  readonly last: boolean;
}

/** A file, or a link where `target` is not empty. `data` is base64. */
export interface CheckpointFile {
  readonly path: string;
  readonly mode: number;
  readonly target: string;
  readonly data: string;
  /** True: `data` goes behind what an earlier piece of the same checkpoint has of it. */
  readonly more: boolean;
}

/** Where the records go, and what must never be in them. */
export interface RecordsOptions {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Texts that are replaced wherever they occur: the token. */
  readonly secrets: readonly string[];
}

const recordSeparator = "\x1e";
const maxMessageBytes = 4096;
const maxReportBytes = { summary: 65_536, model: 256, message: 8192, command: 1024 };

/** Writes lines and records. */
export class Records {
  readonly #options: RecordsOptions;
  #reported = false;

  constructor(options: RecordsOptions) {
    this.#options = { ...options, secrets: options.secrets.filter((secret) => secret !== "") };
  }

  /** One line for people; longer texts are cut. */
  say(line: string): void {
    this.#options.out(`${oneLine(this.redact(line), 300)}\n`);
  }

  /** One record on a model turn, a tool call or something else. */
  note(topic: Topic, level: NoteLevel, message: string, payload: NotePayload): void {
    const text = cutBytes(oneLine(this.redact(message), 1000), maxMessageBytes);
    this.#write({ type: "note", level, topic, message: text, payload });
  }

  /** One piece of a checkpoint: the files as they are, which nothing is taken out of. */
  checkpoint(piece: CheckpointPiece): void {
    this.#options.err(`${recordSeparator}${JSON.stringify({ type: "checkpoint", ...piece })}\n`);
  }

  /** Says that there are no more checkpoints, and why. */
  checkpointsEnd(reason: string): void {
    this.#write({ type: "checkpoint", off: cutBytes(reason, maxMessageBytes) });
  }

  /** The last record. Only the first call writes one. */
  report(report: Report): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#write({
      type: "report",
      ...report,
      summary: cutBytes(this.redact(report.summary), maxReportBytes.summary),
      model: cutBytes(report.model, maxReportBytes.model),
      message: cutBytes(this.redact(report.message), maxReportBytes.message),
      commands: report.commands.map(({ command, exitCode, ms }) => {
        return { command: cutBytes(this.redact(command), maxReportBytes.command), exitCode, ms };
      }),
    });
  }

  /** The text without secrets and without halves of characters. */
  redact(text: string): string {
    return this.#options.secrets
      .reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text)
      .toWellFormed();
  }

  #write(record: Readonly<Record<string, unknown>>): void {
    const json = JSON.stringify(record, (_key, value: unknown) =>
      typeof value === "string" ? this.redact(value) : value,
    );
    this.#options.err(`${recordSeparator}${json}\n`);
  }
}
