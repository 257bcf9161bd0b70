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

/** What asks a program to stop, with its number; SIGHUP: its terminal is gone. */
const stopSignals = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/**
 * Waits for SIGINT, SIGTERM or SIGHUP, or for what else may end the program, then
 * closes; a second signal ends it at once.
 */
export async function untilSignalled(
  close: () => Promise<void>,
  ended: Promise<void> = new Promise(() => {}),
): Promise<void> {
  const signalled = new Promise<void>((resolve) => {
    for (const name of Object.keys(stopSignals)) process.once(name, () => resolve());
  });
  await Promise.race([signalled, ended]);
  for (const [name, number] of Object.entries(stopSignals)) {
    process.once(name, () => process.exit(128 + number));
  }
  await close();
}
