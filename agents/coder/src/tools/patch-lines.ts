/** Owns putting a patch's changes into one text: the context must be there exactly. */
import type { Hunk } from "./patch-format.ts";
import { ToolError } from "./tool.ts";

/** A text after its changes. Throws `ToolError` that names the change which does not fit. */
export function applyHunks(path: string, text: string, hunks: readonly Hunk[]): string {
  const lineEnd = text.includes("\r\n") ? "\r\n" : "\n";
  const lines = text.split(/\r?\n/);
  const hasEnd = lines.at(-1) === "";
  if (hasEnd) lines.pop();
  const out: string[] = [];
  let from = 0;
  let isEnded = hasEnd;
  for (const [index, hunk] of hunks.entries()) {
    const at = placeOf(path, lines, hunk, from, index + 1);
    for (const line of lines.slice(from, at)) out.push(line);
    for (const line of hunk.fresh) out.push(line);
    from = at + hunk.old.length;
    if (from === lines.length && hunk.noEnd !== undefined) isEnded = !hunk.noEnd.fresh;
  }
  for (const line of lines.slice(from)) out.push(line);
  if (out.length === 0) return "";
  return out.join(lineEnd) + (isEnded || text === "" ? lineEnd : "");
}

/** Where the change's old lines are: at the line it says, or in the one place behind the change before. */
function placeOf(
  path: string,
  lines: readonly string[],
  hunk: Hunk,
  from: number,
  number: number,
): number {
  const { old, line, anchor, atEnd } = hunk;
  if (old.length === 0) return additionPlace(path, lines, hunk, from, number);
  const start = anchor === "" ? from : afterAnchor(path, lines, anchor, from, number);
  const said = line - 1;
  if (line > 0 && said >= start && matches(lines, old, said)) return said;
  const places: number[] = [];
  for (let at = start; at + old.length <= lines.length; at++) {
    if (matches(lines, old, at)) places.push(at);
  }
  const last = lines.length - old.length;
  if (atEnd && places.includes(last)) return last;
  const [first, second] = places;
  if (first === undefined) throw missing(path, lines, old, start, number);
  // An anchor says where to look: the first place behind it is meant.
  if (second === undefined || anchor !== "") return first;
  throw new ToolError(
    `${path}: change ${number} fits in more than one place (lines ${first + 1} and ${second + 1}); take in more lines around it`,
  );
}

function additionPlace(
  path: string,
  lines: readonly string[],
  { line, anchor, atEnd }: Hunk,
  from: number,
  number: number,
): number {
  if (anchor !== "") return afterAnchor(path, lines, anchor, from, number);
  if (atEnd || (line === 0 && lines.length === 0)) return lines.length;
  if (line === 0) {
    throw new ToolError(`${path}: change ${number} only adds lines; take in a line before them`);
  }
  if (line >= from && line <= lines.length) return line;
  throw new ToolError(`${path}: change ${number} says line ${line}; the file has ${lines.length}`);
}

function afterAnchor(
  path: string,
  lines: readonly string[],
  anchor: string,
  from: number,
  number: number,
): number {
  const isIt = (line: string) => line === anchor || line.trim() === anchor.trim();
  const at = lines.findIndex((line, index) => index >= from && isIt(line));
  if (at >= 0) return at + 1;
  throw new ToolError(`${path}: change ${number}: there is no line ${JSON.stringify(anchor)}`);
}

function matches(lines: readonly string[], old: readonly string[], at: number): boolean {
  return at + old.length <= lines.length && old.every((line, i) => lines[at + i] === line);
}

/** Which line is the first that is not there. */
function missing(
  path: string,
  lines: readonly string[],
  old: readonly string[],
  start: number,
  number: number,
): ToolError {
  let best = 0;
  for (let at = start; at < lines.length; at++) {
    let count = 0;
    while (count < old.length && lines[at + count] === old[count]) count += 1;
    best = Math.max(best, count);
  }
  const line = old[best] ?? "";
  const isSpace = lines.some((other) => other.trim() === line.trim() && other !== line);
  const hint = isSpace ? "; only its spaces differ" : "";
  return new ToolError(
    `${path}: change ${number} does not fit: after ${best} lines that are there, ${JSON.stringify(line.slice(0, 200))} is not${hint}; read the file again and copy its lines exactly`,
  );
}
