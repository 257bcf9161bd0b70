/** Owns colour: when there is any, and which. */

/** The colours in use. */
export type Colour = "red" | "green" | "yellow" | "blue" | "grey" | "bold";

const codes: Readonly<Record<Colour, readonly [number, number]>> = {
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  grey: [90, 39],
  bold: [1, 22],
};

/** Paints text, or leaves it. */
export type Paint = (colour: Colour, text: string) => string;

/** NO_COLOR, then FORCE_COLOR, then the stream's kind decide. */
export function createPaint(
  env: Readonly<Record<string, string | undefined>>,
  stream: { readonly isTTY?: boolean },
): Paint {
  if (!hasColour(env, stream.isTTY === true)) return (_, text) => text;
  return (colour, text) => {
    const [on, off] = codes[colour];
    return `\u001b[${on}m${text}\u001b[${off}m`;
  };
}

function hasColour(env: Readonly<Record<string, string | undefined>>, isTty: boolean): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== "0";
  return isTty && env.TERM !== "dumb";
}
