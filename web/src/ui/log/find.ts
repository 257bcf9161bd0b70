/** Owns finding in a whole log: an exact count, kept while lines come in, scanned in slices. */
import { stripAnsi } from "./ansi.ts";
import type { LineSource } from "./line-store.ts";

/** What is looked for. */
export interface Query {
  readonly text: string;
  /** Default: false, upper and lower case are the same. */
  readonly matchCase?: boolean;
  /** True: `text` is a regular expression. Default: false. */
  readonly regex?: boolean;
}

/** A match within a line's visible text: from, to. */
export type Range = readonly [start: number, end: number];

/** Answers the matches of one line. */
export type Matcher = (text: string) => Range[];

/** The matcher of a query, or why it is none. An empty query matches nothing. */
export function createMatcher(query: Query): Matcher | { readonly error: string } {
  if (query.text === "") return () => [];
  const source = query.regex ? query.text : query.text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  try {
    const pattern = new RegExp(source, query.matchCase ? "g" : "gi");
    return (text) => {
      const ranges: Range[] = [];
      for (const match of text.matchAll(pattern)) {
        if (match[0] !== "") ranges.push([match.index, match.index + match[0].length]);
      }
      return ranges;
    };
  } catch (error: unknown) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

/** The lines that are searched. */
export interface SearchedLines {
  readonly length: number;
  text(row: number): string;
  source(row: number): LineSource;
  openRows(): number[];
}

/** Where the `index`-th match is. */
export interface Hit {
  readonly row: number;
  /** Which match within its line, from 0. */
  readonly ordinal: number;
}

/** All matches of one matcher in one log. */
export class Finder {
  readonly #lines: SearchedLines;
  readonly #matcher: Matcher;
  /** Rows with matches, rising, and how many matches there are up to and with each. */
  #rows: number[] = [];
  #sums: number[] = [];
  #scanned = 0;
  /** Unfinished rows that the scan passed; they are counted again on each step. */
  #pending = new Map<number, number>();

  constructor(lines: SearchedLines, matcher: Matcher) {
    this.#lines = lines;
    this.#matcher = matcher;
  }

  /** How many matches are known. Exact once `step` answered false. */
  get count(): number {
    return this.#sums.at(-1) ?? 0;
  }

  /** Scans at most `maxLines` lines on; true if there are more. */
  step(maxLines: number): boolean {
    const open = new Set(this.#lines.openRows());
    for (const row of [...this.#pending.keys()]) {
      this.#put(row, this.#matchesOf(row));
      if (!open.has(row)) this.#pending.delete(row);
    }
    const end = Math.min(this.#lines.length, this.#scanned + maxLines);
    for (; this.#scanned < end; this.#scanned++) {
      const found = this.#matchesOf(this.#scanned);
      if (found > 0) {
        this.#rows.push(this.#scanned);
        this.#sums.push(this.count + found);
      }
      if (open.has(this.#scanned)) this.#pending.set(this.#scanned, found);
    }
    return this.#scanned < this.#lines.length;
  }

  /** The match with this index, from 0. */
  hit(index: number): Hit | undefined {
    if (index < 0 || index >= this.count) return undefined;
    const at = lowerBound(this.#sums, index + 1);
    const row = this.#rows[at];
    if (row === undefined) return undefined;
    return { row, ordinal: index - (this.#sums[at - 1] ?? 0) };
  }

  /** The first match at or below a row; the first of all behind the last. */
  indexFrom(row: number): number {
    const at = lowerBound(this.#rows, row);
    return at >= this.#rows.length ? 0 : (this.#sums[at - 1] ?? 0);
  }

  #matchesOf(row: number): number {
    if (this.#lines.source(row) === "mark") return 0;
    return this.#matcher(stripAnsi(this.#lines.text(row))).length;
  }

  /** Corrects the count of one row that was scanned before. */
  #put(row: number, count: number): void {
    const before = this.#pending.get(row) ?? 0;
    if (before === count) return;
    this.#pending.set(row, count);
    const at = lowerBound(this.#rows, row);
    if (this.#rows[at] !== row) {
      this.#rows.splice(at, 0, row);
      this.#sums.splice(at, 0, this.#sums[at - 1] ?? 0);
    }
    for (let i = at; i < this.#sums.length; i++) {
      this.#sums[i] = (this.#sums[i] ?? 0) + count - before;
    }
    if (count === 0) {
      this.#rows.splice(at, 1);
      this.#sums.splice(at, 1);
    }
  }
}

function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
