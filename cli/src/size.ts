/** Owns sizes as people write them: `64m`, `2g`, `1.5g`. */
import { UsageError } from "./usage-error.ts";

const unitMib: Readonly<Record<string, number>> = { k: 1 / 1024, m: 1, g: 1024, t: 1024 * 1024 };

/** Whole MiB of a size with its unit, from 1 to `mostMib`; 0 for `0`. Throws `UsageError`. */
export function parseMib(option: string, text: string, mostMib: number): number {
  if (text === "0") return 0;
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([kmgt])(?:i?b)?$/i.exec(text);
  const factor = unitMib[match?.[2]?.toLowerCase() ?? ""];
  if (factor === undefined) {
    throw new UsageError(
      `${option}: ${JSON.stringify(text)} is not a size`,
      "write a number with its unit, for example 64m, 2g",
    );
  }
  const mib = Number(match?.[1]) * factor;
  if (!Number.isInteger(mib) || mib < 1 || mib > mostMib) {
    throw new UsageError(
      `${option}: ${JSON.stringify(text)} is not from 1m to ${mostMib}m`,
      "a size is a whole number of MiB; 0 is the server's default",
    );
  }
  return mib;
}

/** Thousandths of a number of processors, at least 0.001; 0 for `0`. Throws `UsageError`. */
export function parseCpuMillis(option: string, text: string, most: number): number {
  const value = Number(text);
  const millis = Math.round(value * 1000);
  if (/^\d{1,9}(\.\d{1,9})?$/.test(text) && millis <= most * 1000) {
    if (millis > 0 || value === 0) return millis;
  }
  throw new UsageError(
    `${option}: ${JSON.stringify(text)} is not a number of processors from 0.001 to ${most}`,
    "for example 0.5 or 2; 0 is the server's default",
  );
}
