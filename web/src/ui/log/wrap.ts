/** Owns where a long line breaks: exact, so that a row's height is known without laying it out. */
import { stripAnsi } from "./ansi.ts";

const tabCells = 8;
// Characters of one cell each; everything else is measured one by one.
const simple = /^[\x20-\x7e\u00a0-\u02ff]*$/;
const combining = /\p{Mark}|\u200d|[\ufe00-\ufe0f]/u;
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

/** Where the second and later rows of a text start, when a row has `columns` cells. */
export function breaksOf(text: string, columns: number): number[] {
  const breaks: number[] = [];
  if (simple.test(text)) {
    for (let at = columns; at < text.length; at += columns) breaks.push(at);
    return breaks;
  }
  let used = 0;
  let at = 0;
  for (const character of text) {
    const cells = cellsOf(character, used);
    if (used > 0 && used + cells > columns) {
      breaks.push(at);
      used = cellsOf(character, 0);
    } else used += cells;
    at += character.length;
  }
  return breaks;
}

function cellsOf(character: string, column: number): number {
  if (character === "\t") return tabCells - (column % tabCells);
  if (combining.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}

/** The lines that a layout is made for. */
export interface LaidOutLines {
  readonly length: number;
  text(row: number): string;
  openRows(): number[];
}

/** Which line stands in which row. Without `columns` each line has one row. */
export class RowLayout {
  readonly #lines: LaidOutLines;
  readonly #columns: number | undefined;
  /** For each line the row behind its last. */
  readonly #ends: number[] = [];

  constructor(lines: LaidOutLines, columns: number | undefined) {
    this.#lines = lines;
    this.#columns = columns;
  }

  /** How many rows there are, as of the last `sync`. */
  get rows(): number {
    return this.#columns === undefined ? this.#lines.length : (this.#ends.at(-1) ?? 0);
  }

  /** Takes in new lines, and unfinished ones that grew. */
  sync(): void {
    if (this.#columns === undefined) return;
    for (const row of this.#lines.openRows()) {
      const had = (this.#ends[row] ?? 0) - (this.#ends[row - 1] ?? 0);
      if (row < this.#ends.length && had !== this.#heightOf(row)) this.#ends.length = row;
    }
    for (let line = this.#ends.length; line < this.#lines.length; line++) {
      this.#ends.push((this.#ends[line - 1] ?? 0) + this.#heightOf(line));
    }
  }

  /** The first row of a line. */
  rowOf(line: number): number {
    return this.#columns === undefined ? line : (this.#ends[line - 1] ?? 0);
  }

  /** The line that stands in a row. */
  lineAt(row: number): number {
    if (this.#columns === undefined) return row;
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) <= row) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #heightOf(line: number): number {
    const text = stripAnsi(this.#lines.text(line));
    const columns = this.#columns ?? text.length;
    return text.length <= columns / 2 ? 1 : breaksOf(text, columns).length + 1;
  }
}
