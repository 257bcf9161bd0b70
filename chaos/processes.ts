/** The host's processes, told apart by what their command line and environment hold. Linux only. */
import { readdirSync, readFileSync } from "node:fs";

/** A process that runs. */
export interface FoundProcess {
  readonly pid: number;
  readonly commandLine: string;
  /** Empty where it may not be read. */
  readonly environment: string;
}

/** Processes whose command line or environment has the text, this one left out. */
export function processesWith(text: string): FoundProcess[] {
  return processIds()
    .filter((pid) => pid !== process.pid)
    .map((pid) => ({
      pid,
      commandLine: contentOf(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim(),
      environment: contentOf(`/proc/${pid}/environ`),
    }))
    .filter(({ commandLine, environment }) => `${commandLine}\0${environment}`.includes(text));
}

function processIds(): number[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    // No such file system: nothing can be told.
    return [];
  }
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    // The process has ended meanwhile, or is another user's.
    return "";
  }
}
