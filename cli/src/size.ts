/** Owns sizes as people write them: `64m`, `2g`, `1.5g`. */
import { UsageError } from "./usage-error.ts";

const unitMib: Readonly<Record<string, number>> = { k: 1 / 1024, m: 1, g: 1024, t: 1024 * 1024 };

/** The bounds of a number, both within. */
export interface Bounds {
  readonly least: number;
  readonly most: number;
}

/** Whole MiB of a size with its unit, within bounds in MiB. Throws `UsageError`. */
export function parseMib(option: string, text: string, { least, most }: Bounds): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([kmgt])(?:i?b)?$/i.exec(text);
  const factor = unitMib[match?.[2]?.toLowerCase() ?? ""];
  if (factor === undefined) {
    throw new UsageError(
      `${option}: ${JSON.stringify(text)} is not a size`,
      "write a number with its unit, for example 64m, 2g",
    );
  }
  const mib = Number(match?.[1]) * factor;
  if (!Number.isInteger(mib) || mib < least || mib > most) {
    throw new UsageError(
      `${option}: ${JSON.stringify(text)} is not from ${least}m to ${most}m`,
      "a size is a whole number of MiB; leave it out for the server's default",
    );
  }
  return mib;
}

/** Thousandths of a number of processors, within bounds in processors. Throws `UsageError`. */
export function parseCpuMillis(option: string, text: string, { least, most }: Bounds): number {
  const value = Number(text);
  const isWithin = value >= least && value <= most;
  if (/^\d{1,9}(\.\d{1,9})?$/.test(text) && isWithin) return Math.round(value * 1000);
  throw new UsageError(
    `${option}: ${JSON.stringify(text)} is not a number of processors from ${least} to ${most}`,
    "for example 0.5 or 2; leave it out for the server's default",
  );
}
