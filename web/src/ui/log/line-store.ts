/**
 * Owns the lines of a log: it cuts appended text at line ends and keeps what
 * a carriage return overwrites. How lines look and scroll is left to others.
 */
import { plain, type Style, styleAfter } from "./ansi.ts";
import { overwrite } from "./overwrite.ts";

/** Where a line came from; `mark` is a remark of the console's own. */
export type LineSource = "stdout" | "stderr" | "mark";

interface OpenLine {
  readonly row: number;
  base: string;
  over: string;
}

/** The lines of one log, in the order in which they began. */
export class LineStore {
  readonly #texts: string[] = [];
  readonly #times: number[] = [];
  readonly #sources: LineSource[] = [];
  readonly #startStyles = new Map<number, Style>();
  readonly #open: { stdout?: OpenLine | undefined; stderr?: OpenLine | undefined } = {};
  readonly #styles = { stdout: plain, stderr: plain };

  /** How many lines there are, unfinished ones included. */
  get length(): number {
    return this.#texts.length;
  }

  /** Adds output as it came, cut anywhere. `timeMs` is when, since the epoch. */
  append(source: "stdout" | "stderr", text: string, timeMs: number): void {
    let at = 0;
    for (;;) {
      const end = text.indexOf("\n", at);
      const piece = end < 0 ? text.slice(at) : text.slice(at, end);
      if (end < 0 && piece === "") return;
      if (end >= 0 && this.#open[source] === undefined && !piece.includes("\r")) {
        this.#finish(source, this.#begin(source, piece, timeMs), piece);
      } else {
        this.#write(source, piece, timeMs);
        if (end >= 0) this.#close(source);
      }
      if (end < 0) return;
      at = end + 1;
    }
  }

  /** Adds a remark as a line of its own. It is no part of the output. */
  mark(text: string, timeMs: number): void {
    this.end();
    this.#begin("mark", text, timeMs);
  }

  /** Finishes the lines that no line end finished. */
  end(): void {
    this.#close("stdout");
    this.#close("stderr");
    this.#styles.stdout = plain;
    this.#styles.stderr = plain;
  }

  /** A line with its escapes, without its end. Empty behind the last. */
  text(row: number): string {
    for (const open of [this.#open.stdout, this.#open.stderr]) {
      if (open?.row === row) return overwrite(open.base, open.over);
    }
    return this.#texts[row] ?? "";
  }

  /** When the line began, in milliseconds since the epoch. */
  timeMs(row: number): number {
    return this.#times[row] ?? 0;
  }

  /** Where the line came from. */
  source(row: number): LineSource {
    return this.#sources[row] ?? "stdout";
  }

  /** The style that the line starts in. */
  startStyle(row: number): Style {
    return this.#startStyles.get(row) ?? plain;
  }

  /** The unfinished lines, at most one for each output. Their text may still change. */
  openRows(): number[] {
    const open = [this.#open.stdout, this.#open.stderr];
    return open.flatMap((line) => (line === undefined ? [] : [line.row]));
  }

  /** All output as text, without escapes where `read` removes them; remarks left out. */
  join(read: (line: string) => string): string {
    const lines: string[] = [];
    for (let row = 0; row < this.length; row++) {
      if (this.#sources[row] !== "mark") lines.push(read(this.text(row)));
    }
    return lines.join("\n");
  }

  #begin(source: LineSource, text: string, timeMs: number): number {
    const row = this.#texts.push(text) - 1;
    this.#times.push(timeMs);
    this.#sources.push(source);
    const style = source === "mark" ? plain : this.#styles[source];
    if (style !== plain) this.#startStyles.set(row, style);
    return row;
  }

  #write(source: "stdout" | "stderr", piece: string, timeMs: number): void {
    let open = this.#open[source];
    if (open === undefined) {
      open = { row: this.#begin(source, "", timeMs), base: "", over: "" };
      this.#open[source] = open;
    }
    const parts = piece.split("\r");
    open.over += parts[0] ?? "";
    for (const part of parts.slice(1)) {
      open.base = overwrite(open.base, open.over);
      open.over = part;
    }
  }

  #close(source: "stdout" | "stderr"): void {
    const open = this.#open[source];
    if (open === undefined) return;
    const text = overwrite(open.base, open.over);
    this.#texts[open.row] = text;
    this.#open[source] = undefined;
    this.#finish(source, open.row, text);
  }

  #finish(source: "stdout" | "stderr", row: number, text: string): void {
    this.#styles[source] = styleAfter(text, this.startStyle(row));
  }
}
