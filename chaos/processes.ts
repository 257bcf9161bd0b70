/** The host's processes, told apart by their command line, environment and open files. Linux only. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

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

/**
 * Processes whose command line or environment has one of the marks, or which hold a file below a
 * path that is one: a virtual machine names no path and gets its disks as open files.
 */
export function processesOf(marks: readonly string[]): FoundProcess[] {
  const found = new Map(marks.flatMap(processesWith).map((one) => [one.pid, one]));
  for (const pid of processIds()) {
    if (found.has(pid) || pid === process.pid) continue;
    if (!openFiles(pid).some((path) => marks.some((mark) => path.startsWith(mark)))) continue;
    const commandLine = contentOf(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
    found.set(pid, { pid, commandLine, environment: "" });
  }
  return [...found.values()].sort((a, b) => a.pid - b.pid);
}

function openFiles(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).map((name) => readlinkSync(`${folder}/${name}`));
  } catch {
    // It has ended meanwhile, closed a file while we looked, or is another user's.
    return [];
  }
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
