/**
 * Owns reading ANSI escapes in one line of output: colours and attributes
 * (SGR) become styles, every other escape and control character disappears.
 */

/** A colour: an index of the 256-colour table, or `#rrggbb`. */
export type Color = number | `#${string}`;

/** How a run of text looks. Absent members mean the default. */
export interface Style {
  readonly fg?: Color;
  readonly bg?: Color;
  readonly bold?: true;
  readonly dim?: true;
  readonly italic?: true;
  readonly underline?: true;
  readonly strike?: true;
  readonly inverse?: true;
}

/** A piece of a line in one style. */
export interface Run {
  readonly text: string;
  readonly style: Style;
}

/** The style at the start of a log. Compared by identity. */
export const plain: Style = {};

// CSI, then OSC/DCS/PM/APC/SOS strings up to BEL or ST, then other escapes, an
// escape that the end of the text cuts off, and control characters but the tab.
// biome-ignore format: one alternative a line
const escapes = new RegExp(
  [
    "\\x1b\\[([0-9;:]*)m",
    "(?:\\x1b\\[|\\x9b)[0-?]*[ -/]*(?:[@-~]|$)",
    "\\x1b[\\]PX^_][^\\x07\\x1b]*(?:\\x07|\\x1b\\\\|\\x1b?$)",
    "\\x1b[ -/]+(?:[0-~]|$)",
    "\\x1b[0-~]?",
    "[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f]",
  ].join("|"),
  "g",
);
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const anyControl = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/;

/** The text that is seen, without escapes and control characters. */
export function stripAnsi(line: string): string {
  return anyControl.test(line) ? line.replace(escapes, "") : line;
}

/** The runs of a line and the style after it. Their texts joined equal `stripAnsi(line)`. */
export function parseAnsi(line: string, start: Style = plain): { runs: Run[]; end: Style } {
  const runs: Run[] = [];
  let style = start;
  const push = (text: string) => {
    if (text === "") return;
    const last = runs.at(-1);
    if (last !== undefined && last.style === style) {
      runs[runs.length - 1] = { text: last.text + text, style };
    } else runs.push({ text, style });
  };
  if (!anyControl.test(line)) {
    push(line);
    return { runs, end: style };
  }
  let at = 0;
  for (const match of line.matchAll(escapes)) {
    push(line.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[1] !== undefined) style = applySgr(style, match[1]);
  }
  push(line.slice(at));
  return { runs, end: style };
}

/** The style after a line, without its runs. */
export function styleAfter(line: string, start: Style): Style {
  return line.includes("\x1b") ? parseAnsi(line, start).end : start;
}

type Mutable = { -readonly [K in keyof Style]: Style[K] };

function applySgr(style: Style, text: string): Style {
  const next: Mutable = { ...style };
  // `38:2::r:g:b` and `38;2;r;g;b` mean the same; the colon form may name a colour space.
  const codes = text.split(";").flatMap((part) => (part.includes(":") ? colonForm(part) : [part]));
  const numbers = codes.map((code) => (code === "" ? 0 : Number(code)));
  for (let i = 0; i < numbers.length; i++) {
    const code = numbers[i] ?? 0;
    if (code === 38 || code === 48) {
      const { color, used } = extendedColor(numbers, i + 1);
      if (color !== undefined) next[code === 38 ? "fg" : "bg"] = color;
      i += used;
    } else applySimple(next, code);
  }
  return Object.keys(next).length === 0 ? plain : next;
}

function colonForm(part: string): string[] {
  const fields = part.split(":");
  if (fields[0] === "4") return [fields[1] === "0" ? "24" : "4"];
  if (fields[1] === "2" && fields.length > 5) fields.splice(2, 1);
  return fields;
}

function extendedColor(codes: readonly number[], at: number): { color?: Color; used: number } {
  if (codes[at] === 5) {
    const index = codes[at + 1] ?? 0;
    return index <= 255 ? { color: index, used: 2 } : { used: 2 };
  }
  if (codes[at] === 2) {
    const rgb = [1, 2, 3].map((offset) => Math.min(255, codes[at + offset] ?? 0));
    const hex = rgb.map((value) => value.toString(16).padStart(2, "0")).join("");
    return { color: `#${hex}`, used: 4 };
  }
  return { used: 0 };
}

function applySimple(style: Mutable, code: number): void {
  if (code >= 30 && code <= 37) style.fg = code - 30;
  else if (code >= 90 && code <= 97) style.fg = code - 82;
  else if (code >= 40 && code <= 47) style.bg = code - 40;
  else if (code >= 100 && code <= 107) style.bg = code - 92;
  else attributes[code]?.(style);
}

const attributes: Readonly<Record<number, (style: Mutable) => void>> = {
  0: (style) => {
    for (const key of Object.keys(style) as (keyof Style)[]) delete style[key];
  },
  1: (style) => {
    style.bold = true;
  },
  2: (style) => {
    style.dim = true;
  },
  3: (style) => {
    style.italic = true;
  },
  4: (style) => {
    style.underline = true;
  },
  7: (style) => {
    style.inverse = true;
  },
  9: (style) => {
    style.strike = true;
  },
  22: (style) => {
    delete style.bold;
    delete style.dim;
  },
  23: (style) => {
    delete style.italic;
  },
  24: (style) => {
    delete style.underline;
  },
  27: (style) => {
    delete style.inverse;
  },
  29: (style) => {
    delete style.strike;
  },
  39: (style) => {
    delete style.fg;
  },
  49: (style) => {
    delete style.bg;
  },
};
