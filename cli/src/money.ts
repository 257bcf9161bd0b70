/** Owns amounts of money as people write them: US dollars, `0.50`. */
import { UsageError } from "./usage-error.ts";

/** The most that one job may be given. */
const mostDollars = 1_000_000;

/** Millionths of a US dollar. Throws `UsageError`. */
export function parseDollars(option: string, text: string): number {
  const dollars = /^\d+(\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  const micros = Math.round(dollars * 1_000_000);
  if (micros >= 1 && dollars <= mostDollars) return micros;
  throw new UsageError(
    `${option}: ${JSON.stringify(text)} is not an amount`,
    `write US dollars, for example 0.50, at most ${mostDollars}`,
  );
}

/** Millionths of a US dollar as people read them. */
export function showDollars(micros: bigint | number): string {
  const dollars = Number(micros) / 1_000_000;
  return `$${dollars.toFixed(dollars < 0.01 && dollars > 0 ? 6 : 2)}`;
}
