/**
 * Cuts a text into pieces along a tree of sections: sections that are too big
 * are opened, small neighbours are joined. Which sections there are is left to
 * `markdown.ts`, `indentation.ts` and `syntax.ts`.
 */
import { maxChunkChars, type Piece } from "./chunk.ts";

/** A run of lines that belongs together. */
export interface Section {
  /** The first row, from 0. */
  readonly startRow: number;
  /** The row after the last one. */
  readonly endRow: number;
  /** A name, or empty. */
  readonly title: string;
  /** What it is made of, in order; empty: only lines. Only asked when it is too big. */
  parts(): readonly Section[];
}

/** A piece that may still be joined with its neighbour. */
interface Block {
  readonly start: number;
  readonly end: number;
  readonly startRow: number;
  readonly endRow: number;
  readonly titles: readonly string[];
}

/** Below this many characters a block is joined with its neighbour. */
const smallBlockChars = 400;
const maxDepth = 24;
const maxTitleChars = 200;

/**
 * The pieces of a text, in order: each has at most `maxChunkChars` characters,
 * none is blank, and only white space is left out between them.
 */
export function cut(text: string, sections: readonly Section[]): Piece[] {
  const lines = new Lines(text);
  const blocks = cutRows(lines, 0, lines.count, sections, "", 0);
  return blocks
    .filter(({ start, end }) => text.slice(start, end).trim() !== "")
    .map(({ start, end, startRow, endRow, titles }) => ({
      start,
      end,
      startLine: startRow + 1,
      endLine: endRow,
      title: [...new Set(titles)].join(", ").slice(0, maxTitleChars),
    }));
}

/** Where each line of a text starts. */
class Lines {
  readonly text: string;
  readonly #starts: number[] = [];

  constructor(text: string) {
    this.text = text;
    let start = 0;
    while (start < text.length) {
      this.#starts.push(start);
      const end = text.indexOf("\n", start);
      start = end === -1 ? text.length : end + 1;
    }
  }

  get count(): number {
    return this.#starts.length;
  }

  /** The offset of a row; of the row after the last one: the text's length. */
  start(row: number): number {
    return this.#starts[row] ?? this.text.length;
  }

  row(row: number): string {
    return this.text.slice(this.start(row), this.start(row + 1));
  }
}

function cutRows(
  lines: Lines,
  from: number,
  to: number,
  sections: readonly Section[],
  title: string,
  depth: number,
): Block[] {
  const covered = depth < maxDepth ? cover(from, to, sections) : [];
  if (covered.length === 0) return cutLines(lines, from, to, title);
  const blocks = covered.flatMap(({ startRow, endRow, section }) => {
    const name = section.title || title;
    if (lines.start(endRow) - lines.start(startRow) <= maxChunkChars) {
      return [block(lines, startRow, endRow, name)];
    }
    return cutRows(lines, startRow, endRow, section.parts(), name, depth + 1);
  });
  return join(blocks);
}

interface Covered {
  readonly startRow: number;
  readonly endRow: number;
  readonly section: Section;
}

/** Stretches sections until they cover all rows: what lies before one, a comment, belongs to it. */
function cover(from: number, to: number, sections: readonly Section[]): Covered[] {
  const covered: Covered[] = [];
  let row = from;
  for (const section of sections) {
    const endRow = Math.min(section.endRow, to);
    if (endRow <= row) continue;
    covered.push({ startRow: row, endRow, section });
    row = endRow;
  }
  const last = covered.pop();
  if (last !== undefined) covered.push({ ...last, endRow: to });
  return covered;
}

function block(lines: Lines, startRow: number, endRow: number, title: string): Block {
  const titles = title === "" ? [] : [title];
  return { start: lines.start(startRow), end: lines.start(endRow), startRow, endRow, titles };
}

function join(blocks: readonly Block[]): Block[] {
  const joined: Block[] = [];
  for (const next of blocks) {
    const last = joined.at(-1);
    if (last === undefined || !joinable(last, next)) {
      joined.push(next);
      continue;
    }
    const titles = [...last.titles, ...next.titles];
    joined[joined.length - 1] = { ...last, end: next.end, endRow: next.endRow, titles };
  }
  return joined;
}

function joinable(a: Block, b: Block): boolean {
  const isSmall = Math.min(a.end - a.start, b.end - b.start) < smallBlockChars;
  return isSmall && b.end - a.start <= maxChunkChars;
}

/** Fills pieces with lines, and ends each at the best of its later lines. */
function cutLines(lines: Lines, from: number, to: number, title: string): Block[] {
  const blocks: Block[] = [];
  let row = from;
  while (row < to) {
    if (lines.start(row + 1) - lines.start(row) > maxChunkChars) {
      blocks.push(...cutLongLine(lines, row, title));
      row += 1;
      continue;
    }
    let end = row + 1;
    while (end < to && lines.start(end + 1) - lines.start(row) <= maxChunkChars) end += 1;
    if (end < to) end = bestEnd(lines, row, end);
    blocks.push(block(lines, row, end, title));
    row = end;
  }
  return blocks;
}

/** The row in the later half before which to cut: after a blank line, else the least indented. */
function bestEnd(lines: Lines, row: number, end: number): number {
  let best = end;
  let bestCost = Number.POSITIVE_INFINITY;
  for (let candidate = end; candidate > row + (end - row) / 2; candidate--) {
    const isAfterBlank = lines.row(candidate - 1).trim() === "";
    const cost = isAfterBlank ? -1 : lines.row(candidate).search(/\S|$/);
    if (cost < bestCost) {
      best = candidate;
      bestCost = cost;
    }
  }
  return best;
}

function cutLongLine(lines: Lines, row: number, title: string): Block[] {
  const blocks: Block[] = [];
  const whole = block(lines, row, row + 1, title);
  let start = whole.start;
  while (start < whole.end) {
    let end = Math.min(start + maxChunkChars, whole.end);
    // A surrogate pair is not cut in two.
    if (end < whole.end && /[\uD800-\uDBFF]/.test(lines.text.charAt(end - 1))) end -= 1;
    blocks.push({ ...whole, start, end });
    start = end;
  }
  return blocks;
}
