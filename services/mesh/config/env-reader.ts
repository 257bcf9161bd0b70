/**
 * Reads configuration from the environment and an optional file, and reports
 * all mistakes together. Which keys there are is left to each service.
 */
import { readFileSync } from "node:fs";
import { DevmeshError } from "../errors/index.ts";
import { redact } from "../log/redact.ts";

/** Where the values come from. */
export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Hands out typed values and remembers what was wrong with them. The order of
 * precedence is: environment, `NAME_FILE` for secrets, the file named by
 * `DEVMESH_CONFIG` (JSON, keys as in the environment), the default.
 */
export class EnvReader {
  readonly #env: Env;
  readonly #file: Env;
  readonly #mistakes: string[] = [];

  constructor(env: Env) {
    this.#env = env;
    this.#file = this.#readFile(env.DEVMESH_CONFIG);
  }

  /** A text. */
  string(name: string, fallback: string): string {
    return this.#raw(name) ?? fallback;
  }

  /** A text that may be missing. */
  optional(name: string): string | undefined {
    return this.#raw(name);
  }

  /** A secret: the variable itself, or the content of the file that `<name>_FILE` names. */
  secret(name: string): string | undefined {
    const direct = this.#raw(name);
    const path = this.#raw(`${name}_FILE`);
    if (direct !== undefined || path === undefined) return direct;
    try {
      const secret = readFileSync(path, "utf8").trim();
      if (secret !== "") return secret;
      this.#mistakes.push(`${name}_FILE: ${path} is empty`);
    } catch {
      this.#mistakes.push(`${name}_FILE: cannot read ${path}`);
    }
    return undefined;
  }

  /** A whole number within bounds. */
  integer(name: string, fallback: number, bounds: { min: number; max: number }): number {
    const raw = this.#raw(name);
    if (raw === undefined) return fallback;
    const value = Number(raw);
    if (!/^-?\d+$/.test(raw) || value < bounds.min || value > bounds.max) {
      this.#mistakes.push(
        `${name}: wants a whole number from ${bounds.min} to ${bounds.max}, got ${JSON.stringify(raw)}`,
      );
      return fallback;
    }
    return value;
  }

  /** A TCP port; 0 lets the system choose. */
  port(name: string, fallback: number): number {
    return this.integer(name, fallback, { min: 0, max: 65_535 });
  }

  /** `true` or `false`. */
  boolean(name: string, fallback: boolean): boolean {
    const raw = this.#raw(name);
    if (raw === undefined) return fallback;
    if (raw !== "true" && raw !== "false") {
      this.#mistakes.push(`${name}: wants true or false, got ${JSON.stringify(raw)}`);
    }
    return raw === "true";
  }

  /** One of a few words. */
  oneOf<T extends string>(name: string, words: readonly T[], fallback: T): T {
    const raw = this.#raw(name);
    if (raw === undefined) return fallback;
    const found = words.find((word) => word === raw);
    if (found === undefined) {
      this.#mistakes.push(`${name}: wants one of ${words.join(", ")}, got ${JSON.stringify(raw)}`);
    }
    return found ?? fallback;
  }

  /** An absolute URL with one of these schemes (without the colon), or the fallback. It may hold a password: see `secret`. */
  url<T extends string | undefined>(
    name: string,
    schemes: readonly string[],
    fallback: T,
  ): string | T {
    const raw = this.secret(name);
    if (raw === undefined) return fallback;
    if (!URL.canParse(raw) || !schemes.includes(new URL(raw).protocol.slice(0, -1))) {
      this.#mistakes.push(
        `${name}: wants a URL with ${schemes.join(" or ")}, got ${JSON.stringify(withoutPassword(raw))}`,
      );
      return fallback;
    }
    return raw;
  }

  /** Texts separated by commas; white space around them is cut. */
  list(name: string, fallback: readonly string[]): readonly string[] {
    const raw = this.#raw(name);
    if (raw === undefined) return fallback;
    return raw
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "");
  }

  /** Adds a mistake that only the service can see. */
  mistake(text: string): void {
    this.#mistakes.push(text);
  }

  /** Throws CONFIG_INVALID with every mistake in it, if there was any. */
  finish(): void {
    if (this.#mistakes.length === 0) return;
    throw new DevmeshError(
      "CONFIG_INVALID",
      `the configuration has mistakes:\n  ${this.#mistakes.map(redact).join("\n  ")}`,
      {
        metadata: { mistakes: String(this.#mistakes.length) },
      },
    );
  }

  #raw(name: string): string | undefined {
    const value = this.#env[name] ?? this.#file[name];
    return value === "" ? undefined : value;
  }

  /** A list stands for its items with commas between them; an object has no text. */
  #text(key: string, value: unknown): string {
    if (typeof value !== "object" || Array.isArray(value)) return String(value);
    this.#mistakes.push(`DEVMESH_CONFIG: ${key} wants a text, a number, true, false or a list`);
    return "";
  }

  #readFile(path: string | undefined): Env {
    if (path === undefined || path === "") return {};
    try {
      const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
      if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
        throw new Error("not an object");
      return Object.fromEntries(
        Object.entries(parsed).map(([key, value]) => [key, this.#text(key, value)]),
      );
    } catch (error) {
      const why = error instanceof Error ? error.message : "unreadable";
      this.#mistakes.push(`DEVMESH_CONFIG: ${path} is not a JSON object: ${why}`);
      return {};
    }
  }
}

/** Shows of a broken URL its scheme and what follows the credentials, without the query. */
function withoutPassword(url: string): string {
  // What is no address at all may be anything, a connection string with its password too.
  if (!/^[a-z][a-z0-9+.-]*:/i.test(url)) return "…";
  const [address = "", ...query] = url.split("?");
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(address)?.[0] ?? "";
  // Such a question mark may be one of the password.
  if (query.some((part) => part.includes("@"))) return `${scheme}…`;
  const at = address.lastIndexOf("@");
  return at < 0 ? address : `${scheme}…${address.slice(at)}`;
}
