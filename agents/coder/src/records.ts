/**
 * Owns the two outputs of the agent: plain lines for people on stdout, and
 * RFC 7464 JSON text sequences for the runner on stderr.
 */
import { cutBytes, oneLine } from "./text.ts";

/** How bad it is. */
export type NoteLevel = "info" | "warn" | "error";

/** Why the agent ended without finishing. Empty: it finished. */
export type Stopped = "" | "steps" | "tokens" | "time" | "error";

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
}

/** Facts of a note, for programs. */
export type NotePayload = Readonly<Record<string, string | number | boolean>>;

/** Where the records go, and what must never be in them. */
export interface RecordsOptions {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Texts that are replaced wherever they occur: the token. */
  readonly secrets: readonly string[];
}

const recordSeparator = "\x1e";
const topic = "agent.step";
const maxMessageBytes = 4096;
const maxReportBytes = { summary: 65_536, model: 256, message: 8192 };

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

  /** One record on a model turn or a tool call. */
  note(level: NoteLevel, message: string, payload: NotePayload): void {
    const text = cutBytes(oneLine(this.redact(message), 1000), maxMessageBytes);
    this.#write({ type: "note", level, topic, message: text, payload });
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
