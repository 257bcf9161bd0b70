/** Owns which rows are in the document: only those seen, each made again only if it changed. */
import { parseAnsi, type Run, stripAnsi } from "./ansi.ts";
import type { Matcher } from "./find.ts";
import type { LineStore } from "./line-store.ts";
import { type Segment, segmentsOf } from "./segments.ts";
import type { Window } from "./window.ts";
import { breaksOf, type RowLayout } from "./wrap.ts";

/** One row of the document. */
export interface VisibleRow {
  readonly line: number;
  /** Which row of its line it is, from 0. */
  readonly part: number;
  readonly segments: readonly Segment[];
}

/** More of a line than this is not drawn in one row; it wraps, is searched and downloaded whole. */
const maxDrawn = 10_000;

interface DrawnLine {
  readonly text: string;
  readonly matcher: Matcher;
  readonly columns: number | undefined;
  readonly rows: VisibleRow[];
}

/** Draws windows of one log. */
export class RowPainter {
  readonly #store: LineStore;
  #drawn = new Map<number, DrawnLine>();

  constructor(store: LineStore) {
    this.#store = store;
  }

  /** The rows of a window; rows that did not change are the same objects as before. */
  paint(
    layout: RowLayout,
    window: Window,
    matcher: Matcher,
    columns: number | undefined,
  ): VisibleRow[] {
    const rows: VisibleRow[] = [];
    const drawn = new Map<number, DrawnLine>();
    for (let row = window.first; row < window.end; ) {
      const line = layout.lineAt(row);
      if (line >= this.#store.length) break;
      const made = this.#draw(line, matcher, columns);
      drawn.set(line, made);
      const start = layout.rowOf(line);
      const end = Math.min(window.end, start + made.rows.length);
      rows.push(...made.rows.slice(row - start, end - start));
      // A line that shrank since the layout still moves the loop on.
      row = Math.max(end, row + 1);
    }
    this.#drawn = drawn;
    return rows;
  }

  #draw(line: number, matcher: Matcher, columns: number | undefined): DrawnLine {
    const text = this.#store.text(line);
    const before = this.#drawn.get(line);
    const isSame = before?.matcher === matcher && before.columns === columns;
    if (before !== undefined && isSame && before.text === text) return before;
    const isMark = this.#store.source(line) === "mark";
    const { runs } = parseAnsi(text, this.#store.startStyle(line));
    const seen = stripAnsi(text);
    const breaks = columns === undefined ? [] : breaksOf(seen, columns);
    const shown = columns === undefined ? clip(runs, seen.length) : runs;
    const parts = segmentsOf(shown, isMark ? [] : matcher(seen), breaks);
    const rows = parts.map((segments, part) => ({ line, part, segments }));
    return { text, matcher, columns, rows };
  }
}

function clip(runs: readonly Run[], length: number): readonly Run[] {
  if (length <= maxDrawn) return runs;
  const kept: Run[] = [];
  let left = maxDrawn;
  for (const run of runs) {
    if (left <= 0) break;
    kept.push({ text: run.text.slice(0, left), style: run.style });
    left -= run.text.length;
  }
  const more = `… ${length - maxDrawn} more characters: turn on “Wrap”`;
  return [...kept, { text: more, style: { dim: true } }];
}
