/** Owns reading arguments against a command's table of options. */
import { parseArgs } from "node:util";
import { UsageError } from "./usage-error.ts";

/** One option of a command. */
export interface OptionSpec {
  /** What stands for its value in the help; none: a flag. */
  readonly value?: string;
  readonly short?: string;
  /** True: may be given several times. */
  readonly multiple?: boolean;
  /** One line. */
  readonly help: string;
}

/** A command's options by name. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** Options that every command has. */
export const globalOptions: OptionTable = {
  json: { help: "data as JSON on stdout, errors as JSON on stderr" },
  url: { value: "URL", help: "the server (DEVMESH_URL; default http://127.0.0.1:8080)" },
  token: { value: "TOKEN", help: "the token (DEVMESH_TOKEN; default the owner's, on loopback)" },
  insecure: { help: "allow the token over plain HTTP to another host" },
  quiet: { short: "q", help: "no talk on stderr but errors" },
  help: { short: "h", help: "this help" },
};

/** Arguments after reading. */
export class Args {
  /** Words that are no options. */
  readonly positionals: readonly string[];
  /** What stands behind `--`; undefined without one. */
  readonly rest: readonly string[] | undefined;
  /** All words as they came. */
  readonly raw: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  /** Made by `readArgs`. */
  constructor(
    values: Readonly<Record<string, unknown>>,
    positionals: readonly string[],
    rest: readonly string[] | undefined,
    raw: readonly string[],
  ) {
    this.raw = raw;
    this.#values = values;
    this.positionals = positionals;
    this.rest = rest;
  }

  /** Arguments for somebody else to read. */
  static unread(argv: readonly string[]): Args {
    return new Args({}, [], undefined, argv);
  }

  /** True if the flag is there. */
  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** An option's value. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  /** An option's value, which may not be empty. Throws `UsageError`. */
  filled(name: string): string | undefined {
    const text = this.text(name);
    if (text !== "") return text;
    throw new UsageError(`--${name}: is empty`, "leave it out, or give it a value");
  }

  /** The values of an option that may be given several times. */
  list(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.map(String) : [];
  }

  /** A whole number within bounds. Throws `UsageError`. */
  integer(name: string, least: number, most: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^-?\d+$/.test(text) && value >= least && value <= most) return value;
    throw new UsageError(`--${name}: needs a whole number from ${least} to ${most}`);
  }

  /** `KEY=VALUE` pairs. Throws `UsageError`. */
  pairs(name: string): Record<string, string> {
    const pairs = this.list(name).map((pair) => {
      const at = pair.indexOf("=");
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)] as const;
      throw new UsageError(`--${name}: ${JSON.stringify(pair)} is not KEY=VALUE`);
    });
    return Object.fromEntries(pairs);
  }

  /** One of a few words. Throws `UsageError`. */
  choice<T extends string>(name: string, words: readonly T[]): T | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : pick(name, text, words);
  }

  /** Several of a few words. Throws `UsageError`. */
  choices<T extends string>(name: string, words: readonly T[]): T[] {
    return this.list(name).map((text) => pick(name, text, words));
  }

  /** The words there must be, no more and no fewer. Throws `UsageError`. */
  words(...names: readonly string[]): string[] {
    // An empty word is a variable of a script that nobody has set.
    const missing = names.find((_, index) => !this.positionals[index]);
    if (missing !== undefined) throw new UsageError(`${missing} is missing`);
    const extra = this.positionals[names.length];
    if (extra !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(extra)}`);
    return [...this.positionals];
  }
}

function pick<T extends string>(name: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new UsageError(`--${name}: ${JSON.stringify(text)} is not one of ${words.join(", ")}`);
}

/** Reads arguments; throws `UsageError` for what the table does not know. */
export function readArgs(argv: readonly string[], table: OptionTable): Args {
  const end = argv.indexOf("--");
  const own = end < 0 ? argv : argv.slice(0, end);
  const rest = end < 0 ? undefined : argv.slice(end + 1);
  const options = Object.fromEntries(
    Object.entries({ ...globalOptions, ...table }).map(([name, spec]) => [
      name,
      {
        type: spec.value === undefined ? ("boolean" as const) : ("string" as const),
        ...(spec.short !== undefined && { short: spec.short }),
        ...(spec.multiple !== undefined && { multiple: spec.multiple }),
      },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...own], options, allowPositionals: true });
    return new Args(values, positionals, rest, argv);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new UsageError(text.replace(/\. To specify a positional.*$/s, ""));
  }
}
