/** Waiting for what processes do: by asking, bounded by the test's own timeout. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";

/** True if the process is there and is not just waiting to be reaped. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(statusOf(pid));
  } catch {
    // No such process.
    return false;
  }
}

/** Resolves when the process has ended. */
export async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await turn();
}

/** The content of a file, as soon as it has a whole line. */
export async function untilFile(path: string): Promise<string> {
  for (;;) {
    const text = await readFile(path, "utf8").catch(() => "");
    if (text.endsWith("\n")) return text;
    await turn();
  }
}

/** Resolves when the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    // Systems without /proc reap orphans at once.
    return "";
  }
}
