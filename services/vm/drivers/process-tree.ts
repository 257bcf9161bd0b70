/** Finds, counts, stops and signals processes by kinship, from `/proc`. */
import { readdir, readFile } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";

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
  const fields = await statFields(pid);
  return fields[0] === "Z" ? "" : (fields[19] ?? "");
}

/** True of the kernel's answer that there is no such process. */
export function isNoProcess(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ESRCH";
}

/** Sends a signal; answers whether the process was there. */
export function signalProcess(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error: unknown) {
    if (isNoProcess(error)) return false;
    throw error;
  }
}

/**
 * Stops a process with all its descendants where they stand; answers those that
 * it stopped, for `letTreeGo`. What stands already stays out of the list.
 */
export async function stopTree(pid: number): Promise<number[]> {
  const stopped = new Set<number>();
  const seen = new Set<number>();
  for (;;) {
    // What is stopped forks no more: once nothing new turns up, all of it stands.
    const fresh = [pid, ...(await descendants(pid))].filter((each) => !seen.has(each));
    if (fresh.length === 0) return [...stopped];
    for (const each of fresh) {
      seen.add(each);
      const [state] = await statFields(each);
      if (state === undefined || state === "T" || state === "Z") continue;
      if (signalProcess(each, "SIGSTOP")) stopped.add(each);
    }
    await turn();
  }
}

/** Lets processes go on, children first, so that no parent waits for one that stands. */
export function letTreeGo(pids: readonly number[]): void {
  for (const pid of pids.toReversed()) signalProcess(pid, "SIGCONT");
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

/** What processes use together. */
export interface TreeUse {
  /** Of those that live and of those of their children that they have waited for. */
  readonly cpuMs: number;
  readonly threads: number;
}

/** Adds up what processes of this host say that they have used. */
export async function treeUse(pids: readonly number[]): Promise<TreeUse> {
  const all = await Promise.all(pids.map(statFields));
  let [ticks, threads] = [0, 0];
  for (const fields of all) {
    // utime, stime, cutime, cstime; num_threads.
    for (const field of fields.slice(11, 15)) ticks += Number(field);
    threads += Number(fields[17] ?? 0);
  }
  return { cpuMs: ticks * msPerTick, threads };
}

/** USER_HZ is 100 on every processor that this runs on. */
const msPerTick = 10;

/** The fields of `/proc/PID/stat` from the state on; none if it is gone. */
async function statFields(pid: number): Promise<string[]> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything; the fields count from behind it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    // It ended before.
    return [];
  }
}
