/**
 * Owns reading JSON as weak models write it: in a code fence, with single or no
 * quotes, trailing commas, comments, line ends within texts, Python's words. What
 * was cut off in the middle is never guessed.
 */

/** A value, and whether the text was other than JSON. */
export interface Repaired {
  readonly value: unknown;
  readonly repaired: boolean;
}

/** How deep a value may be: the reader walks it by recursion. */
const maxDepth = 100;

/**
 * The arguments of a call: JSON, or what stands for it. A text within a text, as
 * servers make it that encode twice, is read once more. Throws `SyntaxError`.
 */
export function readArguments(text: string): Repaired {
  if (text.trim() === "") return { value: {}, repaired: false };
  const first = readJson(text);
  if (typeof first.value !== "string" || !first.value.trimStart().startsWith("{")) return first;
  return { ...readJson(first.value), repaired: true };
}

/** Reads one value. Throws `SyntaxError` with the place of what cannot be read. */
export function readJson(text: string): Repaired {
  try {
    return { value: JSON.parse(text), repaired: false };
  } catch {
    const reader = new Reader(withoutFence(text));
    return { value: reader.whole(), repaired: true };
  }
}

/** The text within a code fence, if it is all in one. */
function withoutFence(text: string): string {
  const inner = /^\s*```[\w-]*[ \t]*\r?\n([\s\S]*?)\r?\n?\s*```\s*$/.exec(text)?.[1];
  return inner ?? text;
}

const words: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["true", true],
  ["false", false],
  ["null", null],
  ["True", true],
  ["False", false],
  ["None", null],
  ["undefined", null],
]);

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  "\n": "",
};

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The value that is all of the text. */
  whole(): unknown {
    const value = this.#value();
    this.#space();
    // A semicolon at the end is a habit of programs.
    if (this.#text[this.#at] === ";") this.#at += 1;
    this.#space();
    if (this.#at < this.#text.length) throw this.#wrong("there is more behind the value");
    return value;
  }

  #value(): unknown {
    this.#space();
    const sign = this.#text[this.#at];
    if (sign === undefined) throw this.#cut();
    if (sign === "{") return this.#within(() => this.#object());
    if (sign === "[") return this.#within(() => this.#list());
    if (sign === '"' || sign === "'" || sign === "`") return this.#string(sign);
    return this.#word();
  }

  #within<T>(read: () => T): T {
    this.#depth += 1;
    if (this.#depth > maxDepth) throw this.#wrong("it is nested too deeply");
    const value = read();
    this.#depth -= 1;
    return value;
  }

  #object(): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    this.#at += 1;
    for (;;) {
      this.#space();
      if (this.#take("}")) return Object.fromEntries(entries);
      const name = this.#name();
      this.#space();
      if (!this.#take(":"))
        throw this.#at < this.#text.length ? this.#wrong("a colon is missing") : this.#cut();
      entries.push([name, this.#value()]);
      this.#separator("}");
    }
  }

  #list(): unknown[] {
    const items: unknown[] = [];
    this.#at += 1;
    for (;;) {
      this.#space();
      if (this.#take("]")) return items;
      items.push(this.#value());
      this.#separator("]");
    }
  }

  /** A comma, or the end that follows; anything else is not guessed. */
  #separator(end: string): void {
    this.#space();
    if (this.#take(",")) return;
    if (this.#text[this.#at] === end) return;
    throw this.#at < this.#text.length ? this.#wrong("a comma is missing") : this.#cut();
  }

  #name(): string {
    const sign = this.#text[this.#at];
    if (sign === undefined) throw this.#cut();
    if (sign === '"' || sign === "'" || sign === "`") return this.#string(sign);
    const name = /^[\w$-]+/.exec(this.#text.slice(this.#at, this.#at + 200))?.[0];
    if (name === undefined) throw this.#wrong("a name is missing");
    this.#at += name.length;
    return name;
  }

  #string(quote: string): string {
    const start = this.#at;
    this.#at += 1;
    let value = "";
    for (;;) {
      const sign = this.#text[this.#at];
      if (sign === undefined) {
        this.#at = start;
        throw this.#cut();
      }
      this.#at += 1;
      if (sign === quote) return value;
      value += sign === "\\" ? this.#escape() : sign;
    }
  }

  #escape(): string {
    const sign = this.#text[this.#at];
    if (sign === undefined) throw this.#cut();
    this.#at += 1;
    if (sign === "u") {
      const digits = this.#text.slice(this.#at, this.#at + 4);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#wrong("\\u wants four digits");
      this.#at += 4;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const known = escapes[sign];
    if (known !== undefined) return known;
    // `\d` of a regular expression was meant as it stands; `\"` is the quote alone.
    return /[\w]/.test(sign) ? `\\${sign}` : sign;
  }

  #word(): unknown {
    const word = /^[^\s,:{}[\]"'`]+/.exec(this.#text.slice(this.#at, this.#at + 400))?.[0] ?? "";
    const isNumber = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(word);
    if (!isNumber && !words.has(word)) throw this.#wrong(`${JSON.stringify(word)} is no value`);
    this.#at += word.length;
    return isNumber ? Number(word) : words.get(word);
  }

  #take(sign: string): boolean {
    if (this.#text[this.#at] !== sign) return false;
    this.#at += 1;
    return true;
  }

  /** White space and comments. */
  #space(): void {
    const found = /^(?:\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)/;
    for (;;) {
      const part = found.exec(this.#text.slice(this.#at, this.#at + 4096))?.[0];
      if (part === undefined) return;
      this.#at += part.length;
    }
  }

  #cut(): SyntaxError {
    return new SyntaxError("it is cut off before its end; send the whole call again");
  }

  #wrong(why: string): SyntaxError {
    return new SyntaxError(`${why} (at character ${this.#at + 1})`);
  }
}
