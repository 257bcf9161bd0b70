/** Sections of code and configuration without a grammar, by how far lines are indented. */
import type { Section } from "./cut.ts";

const commentPattern = /^\s*(\/\/|\/\*|\*|#|--|;|"""|<!--)/;
const closingPattern = /^\s*[\])}>]/;
const namePattern =
  /\b(?:class|def|enum|extend|fun|func|function|interface|macro|message|module|object|oneof|record|resource|rpc|service|struct|table|trait|type|view|index)\s+["'`]?([\w$.-]+)/i;
const keyPattern = /^\s*["']?([\w$./-]+)["']?\s*[:=]/;

/** Each outermost line with what is indented below it. */
export function indentationSections(text: string): Section[] {
  return sectionsOf(text.split("\n"), 0, undefined);
}

function sectionsOf(
  rows: readonly string[],
  offset: number,
  parent: number | undefined,
): Section[] {
  const indents = rows.map((row) => row.search(/\S/));
  const inner = indents.filter(
    (indent) => indent >= 0 && (parent === undefined || indent > parent),
  );
  if (inner.length === 0) return [];
  const level = inner.reduce((least, indent) => Math.min(least, indent));
  const starts: number[] = [];
  for (const [row, line] of rows.entries()) {
    const isOuter = indents[row] === level && !closingPattern.test(line);
    const above = rows[row - 1] ?? "";
    const belongsToComment = row > 0 && commentPattern.test(above) && indents[row - 1] === level;
    if (isOuter && !belongsToComment) starts.push(row);
  }
  return starts.map((row, index) => {
    const end = starts[index + 1] ?? rows.length;
    const own = rows.slice(row, end);
    return {
      startRow: offset + row,
      endRow: offset + end,
      title: titleOf(own),
      parts: () => sectionsOf(own, offset + row, level),
    };
  });
}

function titleOf(rows: readonly string[]): string {
  const first = rows.find((row) => row.trim() !== "" && !commentPattern.test(row)) ?? "";
  return namePattern.exec(first)?.[1] ?? keyPattern.exec(first)?.[1] ?? "";
}
