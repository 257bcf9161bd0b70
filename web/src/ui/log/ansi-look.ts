/**
 * Owns how a style of the log becomes CSS: the 16 colours belong to the theme;
 * others are kept as they are where they are legible, and moved where not.
 */
import type { Color, Style } from "./ansi.ts";
import { legible, type Rgb } from "./contrast.ts";

/** Classes and inline values of one run. */
export interface Look {
  readonly class: string;
  readonly style: Readonly<Record<string, string>>;
}

const levels = [0, 95, 135, 175, 215, 255];
/** The log's ground, light and dark; the style sheet says the same. */
const lightGround: Rgb = [255, 255, 255];
const darkGround: Rgb = [11, 14, 18];
const lightText: Rgb = [31, 37, 45];
const darkText: Rgb = [215, 221, 228];

/** The value of a colour; undefined for the 16 of the theme. */
export function rgbOf(color: Color): Rgb | undefined {
  if (typeof color === "string") {
    const at = (start: number) => Number.parseInt(color.slice(start, start + 2), 16);
    return [at(1), at(3), at(5)];
  }
  if (color < 16) return undefined;
  if (color >= 232) {
    const grey = 8 + (color - 232) * 10;
    return [grey, grey, grey];
  }
  const cube = color - 16;
  const at = (step: number) => levels[Math.floor(cube / step) % 6] ?? 0;
  return [at(36), at(6), at(1)];
}

/** How a style looks. */
export function lookOf(style: Style): Look {
  const names: string[] = [];
  for (const name of ["bold", "dim", "italic", "underline", "strike"] as const) {
    if (style[name]) names.push(`a-${name}`);
  }
  if (style.underline && style.strike) names.push("a-both");
  return { class: names.join(" "), style: colorsOf(style) };
}

function colorsOf({ fg, bg, inverse }: Style): Record<string, string> {
  if (inverse) return { ...solid(fg), ...(bg !== undefined && { color: onSolid(bg, fg) }) };
  if (bg === undefined) return fg === undefined ? {} : { color: onGround(fg) };
  const ground = rgbOf(bg);
  if (ground === undefined) {
    // A tint, so that text on it stays legible.
    const tint = `color-mix(in srgb, var(--ansi-${bg}) 18%, var(--log-bg))`;
    return { "background-color": tint, ...(fg !== undefined && { color: onGround(fg) }) };
  }
  const front = fg === undefined ? undefined : rgbOf(fg);
  const color =
    front === undefined
      ? css(legible(lightText, ground), legible(darkText, ground))
      : css(legible(front, ground), legible(front, ground));
  return { "background-color": css(ground, ground), color };
}

function onGround(color: Color): string {
  const rgb = rgbOf(color);
  if (rgb === undefined) return `var(--ansi-${color})`;
  return css(legible(rgb, lightGround), legible(rgb, darkGround));
}

/** Inverse text: the ground's colour on the text's. */
function solid(fg: Color | undefined): Record<string, string> {
  const ground = fg === undefined ? "var(--log-text)" : onGround(fg);
  return { "background-color": ground, color: "var(--log-bg)" };
}

/** Inverse text that names both colours; a theme's own pair falls back to the log's ground. */
function onSolid(bg: Color, fg: Color | undefined): string {
  const front = rgbOf(bg);
  const ground = fg === undefined ? undefined : rgbOf(fg);
  if (front === undefined || ground === undefined) return "var(--log-bg)";
  return css(
    legible(front, legible(ground, lightGround)),
    legible(front, legible(ground, darkGround)),
  );
}

function css(light: Rgb, dark: Rgb): string {
  const one = (rgb: Rgb) => `rgb(${rgb.join(" ")})`;
  const [first, second] = [one(light), one(dark)];
  return first === second ? first : `light-dark(${first}, ${second})`;
}
