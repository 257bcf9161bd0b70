/** The port behind which tools lie, and the reading of their arguments. */

import { type Repaired, readArguments } from "./repair-json.ts";

/** What every tool may use. */
export interface ToolContext {
  /** Aborts when the agent must stop. */
  readonly signal: AbortSignal;
}

/** A tool that the model may call. */
export interface Tool {
  readonly name: string;
  /** For the model: what it does and when to use it. */
  readonly description: string;
  /** JSON Schema of its arguments. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** True: a call may change files of the work dir. Default: false. */
  readonly mayChange?: boolean;
  /** The result for the model. Throws `ToolError` or `ArgumentError`, whose words the model gets. */
  run(args: Arguments, context: ToolContext): Promise<string | ToolResult>;
}

/** A program that a call ran. */
export interface RunCommand {
  /** The program and its arguments as one line. */
  readonly line: string;
  /** 128 + n where signal n ended it. */
  readonly exitCode: number;
  readonly ms: number;
}

/** What a call gave. */
export interface ToolResult {
  /** For the model. */
  readonly text: string;
  readonly command?: RunCommand;
}

/** A failure that the model shall hear of: a missing file, text that is not unique. */
export class ToolError extends Error {
  override readonly name: string = "ToolError";
}

/** A call that is wrong in itself: bad JSON, an unknown tool, a missing argument. */
export class ArgumentError extends ToolError {
  override readonly name: string = "ArgumentError";
}

/** The arguments of one call. Every reader throws `ArgumentError` with the field's name. */
export class Arguments {
  readonly #row: Readonly<Record<string, unknown>>;

  private constructor(row: Readonly<Record<string, unknown>>) {
    this.#row = row;
  }

  /** Reads JSON text, also a slightly broken one; an empty text is no arguments. */
  static parse(text: string): Arguments {
    let read: Repaired;
    try {
      read = readArguments(text);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new ArgumentError(`the arguments are not valid JSON: ${why}`);
    }
    const { value } = read;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ArgumentError("the arguments must be one JSON object");
    }
    return new Arguments({ ...value });
  }

  /** A text that must be there; it may be empty. */
  text(name: string): string {
    const value = this.#row[name];
    if (typeof value === "string") return value;
    throw new ArgumentError(
      value === undefined || value === null ? this.#missing(name) : `${name}: must be a text`,
    );
  }

  /** A text that may be missing. */
  optionalText(name: string): string | undefined {
    return this.#isAbsent(name) ? undefined : this.text(name);
  }

  /** A whole number from 1 that may be missing; models also write it as text. */
  optionalCount(name: string): number | undefined {
    if (this.#isAbsent(name)) return undefined;
    const value = this.#row[name];
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (typeof number === "number" && Number.isSafeInteger(number) && number >= 1) return number;
    throw new ArgumentError(`${name}: must be a whole number from 1`);
  }

  /** A list of texts with at least one item. */
  texts(name: string): readonly string[] {
    const value = this.#row[name];
    if (this.#isAbsent(name)) throw new ArgumentError(this.#missing(name));
    const isList = Array.isArray(value) && value.length > 0;
    if (isList && value.every((item) => typeof item === "string")) return value;
    throw new ArgumentError(`${name}: must be a list of texts, for example ["node", "--test"]`);
  }

  #isAbsent(name: string): boolean {
    return this.#row[name] === undefined || this.#row[name] === null;
  }

  #missing(name: string): string {
    const given = Object.keys(this.#row).slice(0, 10).join(", ") || "nothing";
    return `${name}: is missing; given: ${given}`;
  }
}
