/** `devmesh chaos`, and the history verifier for whoever has a history. */
import { ChaosUsageError, chaosHelp, readChaosOptions } from "./options.ts";
import { describe, isOk, summaryOf } from "./report.ts";
import { runOnce } from "./run.ts";

export { type HistoryEntry, readHistory } from "./history.ts";
export { type JobReader, readPlatform } from "./job-reader.ts";
export { type Problem, type Verdict, verifyHistory } from "./verifier.ts";

/** What ends a run early: everything that it started is stopped and removed. */
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Runs chaos from its arguments; answers the exit status: 0 only if everything holds. */
export async function runChaos(argv: readonly string[]): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  for (const name of signals) process.on(name, interrupt);
  try {
    const options = readChaosOptions(argv);
    if (options === undefined) {
      process.stdout.write(chaosHelp);
      return 0;
    }
    const people = options.json ? process.stderr : process.stdout;
    const tell = (line: string) => people.write(`${line}\n`);
    const { seed, store } = options;
    tell(`seed ${seed}, store ${store}; the same choices again: --seed ${seed} --store ${store}`);
    const report = await runOnce(options, tell, interrupted.signal);
    people.write(`\n${describe(report)}`);
    if (options.json) process.stdout.write(`${JSON.stringify(summaryOf(report))}\n`);
    return isOk(report) ? 0 : 1;
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    const isUsage = error instanceof ChaosUsageError;
    const exitCode = isUsage ? 2 : 1;
    const message = textOf(error);
    const reason = isUsage ? "USAGE" : "INTERNAL";
    const failure = { error: { message, reason, exitCode, remedy: "" } };
    const isJson = argv.includes("--json");
    process.stderr.write(isJson ? `${JSON.stringify(failure)}\n` : `error: ${message}\n`);
    return exitCode;
  } finally {
    for (const name of signals) process.off(name, interrupt);
  }
}

/** Of two errors both: the one that came first, and the one of tidying up after it. */
function textOf(error: unknown): string {
  if (error instanceof SuppressedError) {
    return `${textOf(error.suppressed)}; then: ${textOf(error.error)}`;
  }
  return error instanceof Error ? error.message : String(error);
}
