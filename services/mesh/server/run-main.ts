/** What every program does around its service: tell mistakes plainly, stop in order. */
import { toDevmeshError } from "../errors/index.ts";

/** Runs a start; a known error is told in one line, and the program ends with status 1. */
export async function exitOnConfigError<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    const failure = toDevmeshError(error);
    const text =
      failure.reason === "INTERNAL" ? String(failure.cause ?? failure.message) : failure.message;
    process.stderr.write(`error: ${text} (${failure.reason})\n`);
    process.exit(1);
  }
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
