/** Owns what a carriage return does within a line: later text overwrites earlier text. */
import { stripAnsi } from "./ansi.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: escapes are what is looked for
const eraseLine = /^[\s\S]*\x1b\[2K/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: escapes are what is looked for
const eraseToEnd = /\x1b\[0?K/;

/**
 * The line when `over` is written over `base` from its first column. "Erase
 * line" clears what would stay of `base`; cells are counted as UTF-16 units.
 */
export function overwrite(base: string, over: string): string {
  const cleared = eraseLine.exec(over);
  if (cleared !== null) return over.slice(cleared[0].length);
  if (base === "" || eraseToEnd.test(over)) return over;
  if (over === "") return base;
  const covered = stripAnsi(over).length;
  const rest = sliceFrom(base, covered);
  return rest === "" ? over : `${over}\x1b[0m${rest}`;
}

/** The part of a line behind `column`, with the escapes that style it. */
function sliceFrom(line: string, column: number): string {
  if (stripAnsi(line).length <= column) return "";
  let seen = 0;
  let at = 0;
  let escapes = "";
  while (at < line.length && seen < column) {
    const sequence = escapeAt(line, at);
    if (sequence !== "") {
      escapes += sequence;
      at += sequence.length;
    } else {
      seen++;
      at++;
    }
  }
  return escapes + line.slice(at);
}

function escapeAt(line: string, at: number): string {
  if (line[at] !== "\x1b") return stripAnsi(line[at] ?? "") === "" ? (line[at] ?? "") : "";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escapes are what is looked for
  const sgr = /^\x1b\[[0-9;:]*[@-~]/.exec(line.slice(at, at + 64));
  return sgr?.[0] ?? line[at] ?? "";
}
