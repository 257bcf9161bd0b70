/** Owns sizes as people write them: `64m`, `2g`, `1.5g`. */
import { UsageError } from "./usage-error.ts";

const unitMib: Readonly<Record<string, number>> = { k: 1 / 1024, m: 1, g: 1024, t: 1024 * 1024 };

/** Whole MiB of a size with its unit, from `leastMib` to `mostMib`. Throws `UsageError`. */
export function parseMib(option: string, text: string, leastMib: number, mostMib: number): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([kmgt])(?:i?b)?$/i.exec(text);
  const factor = unitMib[match?.[2]?.toLowerCase() ?? ""];
  if (factor === undefined) {
    throw new UsageError(
      `${option}: ${JSON.stringify(text)} is not a size`,
      "write a number with its unit, for example 64m, 2g",
    );
  }
  const mib = Number(match?.[1]) * factor;
  if (!Number.isInteger(mib) || mib < leastMib || mib > mostMib) {
    throw new UsageError(
      `${option}: ${JSON.stringify(text)} is not from ${leastMib}m to ${mostMib}m`,
      "a size is a whole number of MiB; without the option it is the server's default",
    );
  }
  return mib;
}

/** Thousandths of a number of processors from `least` to `most`. Throws `UsageError`. */
export function parseCpuMillis(option: string, text: string, least: number, most: number): number {
  const millis = Math.round(Number(text) * 1000);
  const isNumber = /^\d{1,9}(\.\d{1,9})?$/.test(text);
  if (isNumber && millis >= least * 1000 && millis <= most * 1000) return millis;
  throw new UsageError(
    `${option}: ${JSON.stringify(text)} is not a number of processors from ${least} to ${most}`,
    "for example 0.5 or 2; without the option it is the server's default",
  );
}
