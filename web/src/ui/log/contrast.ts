/** Owns keeping a program's own colours legible: at least 4.5:1, by the formula of WCAG 2. */

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

const enough = 4.5;
const black: Rgb = [0, 0, 0];
const white: Rgb = [255, 255, 255];

function luminance(rgb: Rgb): number {
  const [red, green, blue] = rgb.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}

/** The contrast of two colours, 1 to 21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

/** `color`, moved towards black or white as little as makes it legible on `ground`. */
export function legible(color: Rgb, ground: Rgb): Rgb {
  const end = contrast(black, ground) > contrast(white, ground) ? black : white;
  const mixed = (share: number): Rgb => {
    const at = (index: 0 | 1 | 2) => Math.round(color[index] + (end[index] - color[index]) * share);
    return [at(0), at(1), at(2)];
  };
  for (let step = 0; step < 20; step++) {
    const tried = mixed(step / 20);
    if (contrast(tried, ground) >= enough) return tried;
  }
  return end;
}
