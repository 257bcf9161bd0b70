/** Owns what the log says of work that goes on: its turns, its calls, its words from people. */

/** A turn of the model, as the log has it. */
export interface LoggedTurn {
  readonly type: "turn";
  readonly step: number;
  readonly text: string;
  readonly calls: readonly {
    readonly id: string;
    readonly name: string;
    readonly arguments: string;
  }[];
  readonly cut: boolean;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly exactUsage: boolean;
  /** Undefined: no price is known. */
  readonly costMicros: number | undefined;
  readonly model: string;
  readonly protocol: "native" | "text";
}

/** A call of a turn, with its result. */
export interface LoggedCall {
  readonly type: "call";
  readonly step: number;
  readonly id: string;
  readonly outcome: "ok" | "failed" | "malformed" | "finished";
  readonly text: string;
  /** True if it changed files. */
  readonly changed: boolean;
  readonly command:
    | { readonly line: string; readonly exitCode: number; readonly ms: number }
    | undefined;
}

/** A word of a person to the model. */
export interface LoggedWord {
  readonly type: "user";
  readonly text: string;
}

/** The log, in its order, and up to which call its files are in the work dir. */
export interface Resume {
  readonly entries: readonly (LoggedTurn | LoggedCall | LoggedWord)[];
  /** `all`: the files are as the last call left them. Undefined: as at the very start. */
  readonly files: "all" | { readonly step: number; readonly call: string } | undefined;
}

/** Reads the value. Throws an error that names what is wrong. */
export function parseResume(value: unknown): Resume {
  const row = objectOf(value, "the value");
  if (!Array.isArray(row.entries)) throw new Error("entries: must be a list");
  const entries = row.entries.map((item: unknown, index) => entryOf(item, `entries[${index}]`));
  return { entries, files: filesOf(row.files) };
}

function filesOf(value: unknown): Resume["files"] {
  if (value === undefined || value === null) return undefined;
  if (value === "all") return value;
  const { step, call } = objectOf(value, "files");
  return { step: numberOf(step, "files.step"), call: textOf(call, "files.call") };
}

function entryOf(value: unknown, at: string): Resume["entries"][number] {
  const row = objectOf(value, at);
  switch (row.type) {
    case "turn":
      return {
        type: "turn",
        step: numberOf(row.step, `${at}.step`),
        text: textOf(row.text, `${at}.text`),
        calls: callsOf(row.calls, `${at}.calls`),
        cut: row.cut === true,
        inputTokens: numberOf(row.inputTokens, `${at}.inputTokens`),
        outputTokens: numberOf(row.outputTokens, `${at}.outputTokens`),
        exactUsage: row.exactUsage === true,
        costMicros:
          row.costMicros === undefined ? undefined : numberOf(row.costMicros, `${at}.costMicros`),
        model: textOf(row.model, `${at}.model`),
        protocol: row.protocol === "text" ? "text" : "native",
      };
    case "call":
      return {
        type: "call",
        step: numberOf(row.step, `${at}.step`),
        id: textOf(row.id, `${at}.id`),
        outcome: outcomeOf(row.outcome, `${at}.outcome`),
        text: textOf(row.text, `${at}.text`),
        changed: row.changed === true,
        command: row.command === undefined ? undefined : commandOf(row.command, `${at}.command`),
      };
    case "user":
      return { type: "user", text: textOf(row.text, `${at}.text`) };
    default:
      throw new Error(`${at}.type: must be turn, call or user`);
  }
}

function callsOf(value: unknown, at: string): LoggedTurn["calls"] {
  if (!Array.isArray(value)) throw new Error(`${at}: must be a list`);
  return value.map((item: unknown, index) => {
    const row = objectOf(item, `${at}[${index}]`);
    return {
      id: textOf(row.id, `${at}[${index}].id`),
      name: textOf(row.name, `${at}[${index}].name`),
      arguments: textOf(row.arguments, `${at}[${index}].arguments`),
    };
  });
}

function commandOf(value: unknown, at: string): NonNullable<LoggedCall["command"]> {
  const row = objectOf(value, at);
  return {
    line: textOf(row.line, `${at}.line`),
    exitCode: numberOf(row.exitCode, `${at}.exitCode`),
    ms: numberOf(row.ms, `${at}.ms`),
  };
}

function outcomeOf(value: unknown, at: string): LoggedCall["outcome"] {
  if (value === "ok" || value === "failed" || value === "malformed" || value === "finished") {
    return value;
  }
  throw new Error(`${at}: must be ok, failed, malformed or finished`);
}

function objectOf(value: unknown, at: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw new Error(`${at}: must be an object`);
}

function textOf(value: unknown, at: string): string {
  if (typeof value === "string") return value;
  throw new Error(`${at}: must be a text`);
}

function numberOf(value: unknown, at: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new Error(`${at}: must be a number`);
}
