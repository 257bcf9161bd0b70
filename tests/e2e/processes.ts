/** The host's processes, looked at from outside of every sandbox. */
import { readdirSync, readFileSync } from "node:fs";

/** Pids of the processes whose command line has the text, this one left out. */
export function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => contentOf(`/proc/${pid}/cmdline`).includes(text))
    .map(Number);
}

/** The mount points whose path has the text. */
export function mountsWith(text: string): string[] {
  return contentOf("/proc/self/mounts")
    .split("\n")
    .filter((line) => line.includes(text));
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process has ended meanwhile.
    return "";
  }
}
