/** Sections of prose by its headings. */
import type { Section } from "./cut.ts";

/** Each heading with what is below it; the title names the headings above it too. */
export function markdownSections(text: string): Section[] {
  const rows = text.split("\n");
  const starts: { row: number; title: string }[] = [];
  let path: { level: number; words: string }[] = [];
  let fence: string | undefined;
  for (const [row, line] of rows.entries()) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (mark !== undefined) {
      if (fence === undefined) fence = mark;
      else if (mark.startsWith(fence)) fence = undefined;
    }
    const heading = fence === undefined ? /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line) : null;
    if (heading === null) continue;
    const [, marks = "", words = ""] = heading;
    path = [...path.filter(({ level }) => level < marks.length), { level: marks.length, words }];
    starts.push({ row, title: path.map((above) => above.words).join(" > ") });
  }
  if (starts[0]?.row !== 0) starts.unshift({ row: 0, title: "" });
  return starts.map(({ row, title }, index) => ({
    startRow: row,
    endRow: starts[index + 1]?.row ?? rows.length,
    title,
    parts: () => [],
  }));
}
