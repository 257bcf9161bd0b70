/** Owns times as people write them: `90s`, `15m`, `2h`, `30d`. */
import { UsageError } from "./usage-error.ts";

const dayMs = 86_400_000;

const unitMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: dayMs,
};

/** Milliseconds of a time with its unit, at most `mostMs`. Throws `UsageError`. */
export function parseDuration(
  option: string,
  text: string,
  mostMs = Number.POSITIVE_INFINITY,
): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  const factor = unitMs[match?.[2] ?? ""];
  const ms = Number(match?.[1]) * (factor ?? 0);
  if (factor === undefined || !(ms > 0)) {
    throw new UsageError(
      `${option}: ${JSON.stringify(text)} is not a time`,
      "write a number with its unit, for example 90s, 15m, 2h, 30d",
    );
  }
  if (ms > mostMs) {
    throw new UsageError(`${option}: ${JSON.stringify(text)} is longer than ${mostMs / dayMs}d`);
  }
  return ms;
}
