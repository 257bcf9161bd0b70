/** Owns how a style of the log becomes CSS: classes for the theme's 16 colours, values for others. */
import type { Color, Style } from "./ansi.ts";

/** Classes and inline values of one run. */
export interface Look {
  readonly class: string;
  readonly style: Readonly<Record<string, string>>;
}

const levels = [0, 95, 135, 175, 215, 255];

/** The CSS colour of an index of the 256-colour table; the first 16 belong to the theme. */
export function cssColor(color: Color): string {
  if (typeof color === "string") return color;
  if (color < 16) return `var(--ansi-${color})`;
  if (color >= 232) {
    const grey = 8 + (color - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const cube = color - 16;
  const at = (step: number) => levels[Math.floor(cube / step) % 6] ?? 0;
  return `rgb(${at(36)} ${at(6)} ${at(1)})`;
}

/** How a style looks. */
export function lookOf(style: Style): Look {
  const names: string[] = [];
  for (const name of ["bold", "dim", "italic", "underline", "strike"] as const) {
    if (style[name]) names.push(`a-${name}`);
  }
  if (style.underline && style.strike) names.push("a-both");
  const fg = style.fg === undefined ? undefined : cssColor(style.fg);
  const bg = style.bg === undefined ? undefined : cssColor(style.bg);
  const values: Record<string, string> = {};
  const [front, back] = style.inverse
    ? [bg ?? "var(--log-bg)", fg ?? "var(--log-text)"]
    : [fg, bg];
  if (front !== undefined) values.color = front;
  if (back !== undefined) values["background-color"] = back;
  return { class: names.join(" "), style: values };
}
