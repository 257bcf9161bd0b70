/** Owns cutting a line into what is drawn: one segment for each style, match and row. */
import type { Run, Style } from "./ansi.ts";
import type { Range } from "./find.ts";

/** A piece of a row with one look. */
export interface Segment {
  readonly text: string;
  readonly style: Style;
  /** Which match of the line it belongs to. Absent: none. */
  readonly match?: number;
}

/** Cuts runs at the borders of matches and at row breaks; one list for each row. */
export function segmentsOf(
  runs: readonly Run[],
  matches: readonly Range[],
  breaks: readonly number[],
): Segment[][] {
  const rows: Segment[][] = [[]];
  let at = 0;
  let match = 0;
  let row = 0;
  for (const run of runs) {
    const runEnd = at + run.text.length;
    const runStart = at;
    while (at < runEnd) {
      while ((matches[match]?.[1] ?? Number.POSITIVE_INFINITY) <= at) match++;
      if (breaks[row] === at) {
        row++;
        rows.push([]);
      }
      const range = matches[match];
      const within = range !== undefined && range[0] <= at;
      const border = within ? range[1] : (range?.[0] ?? runEnd);
      const end = Math.min(runEnd, border, breaks[row] ?? runEnd);
      const text = run.text.slice(at - runStart, end - runStart);
      rows[row]?.push({ text, style: run.style, ...(within && { match }) });
      at = end;
    }
  }
  return rows;
}
