/** What every program does around its service: tell mistakes plainly, stop in order. */
import { type DevmeshError, toDevmeshError } from "../errors/index.ts";

/**
 * Runs a start; a known error is told, and the program ends: with status 2 for what it was
 * given (options, settings), else with 1.
 */
export async function exitOnConfigError<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    const failure = toDevmeshError(error);
    const isInput = failure.reason === "INVALID_FIELD" || failure.reason === "CONFIG_INVALID";
    const status = isInput ? 2 : 1;
    tellFailure(failure, status);
    process.exit(status);
  }
}

/** Says on stderr why a program ends: in one line, as JSON where it was started with `--json`. */
export function tellFailure(failure: DevmeshError, exitCode: number): void {
  const { reason, metadata, cause } = failure;
  const message = reason === "INTERNAL" ? String(cause ?? failure.message) : failure.message;
  const text = process.argv.includes("--json")
    ? JSON.stringify({ error: { message, reason, exitCode, remedy: "", metadata } })
    : `error: ${message} (${reason})`;
  process.stderr.write(`${text}\n`);
}

/**
 * Waits for SIGINT or SIGTERM, or for what else may end the program, then
 * closes; a second signal ends it at once.
 */
export async function untilSignalled(
  close: () => Promise<void>,
  ended: Promise<void> = new Promise(() => {}),
): Promise<void> {
  const signalled = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
  });
  await Promise.race([signalled, ended]);
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
  await close();
}
