/** Finds and signals processes by kinship, from `/proc`. */
import { readdir, readFile } from "node:fs/promises";

/** All descendants of a process that live now, nearest first; without itself. */
export async function descendants(pid: number): Promise<number[]> {
  const found: number[] = [];
  let generation = [pid];
  while (generation.length > 0) {
    generation = (await Promise.all(generation.map(children))).flat();
    found.push(...generation);
  }
  return found;
}

/** The children of a process, of all its threads. */
export async function children(pid: number): Promise<number[]> {
  try {
    const threads = await readdir(`/proc/${pid}/task`);
    const lists = await Promise.all(
      threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, "latin1")),
    );
    return lists.join(" ").split(" ").filter(Boolean).map(Number);
  } catch {
    // It ended while we looked: it has none.
    return [];
  }
}

/**
 * When a process began, in the kernel's ticks since the boot: with its pid it
 * names one process for ever. Empty if it is gone or only waits to be reaped.
 */
export async function startTicks(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything; the fields count from behind it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : (fields[19] ?? "");
  } catch {
    // It ended before.
    return "";
  }
}

/** Sends a signal; answers whether the process was there. */
export function signalProcess(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error: unknown) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
}

/** The command line of a process as NUL-ended arguments; empty if it is gone. */
export async function commandLine(pid: number): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    // It ended while we looked.
    return "";
  }
}

/** The resident memory of processes together, in bytes. Shared pages count for each. */
export async function residentBytes(pids: readonly number[]): Promise<number> {
  const pages = await Promise.all(
    pids.map(async (pid) => {
      try {
        const [, resident, shared] = (await readFile(`/proc/${pid}/statm`, "latin1")).split(" ");
        return Number(resident) - Number(shared);
      } catch {
        // It ended while we looked: it uses nothing.
        return 0;
      }
    }),
  );
  return pages.reduce((sum, count) => sum + count, 0) * 4096;
}
