/**
 * bubblewraps that nobody holds any more. One that is killed while it sets up,
 * or whose parent is, may leave its first child behind: that binds its life to
 * its parent's only later, and goes on by itself, outside of every limit.
 */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { commandLine, signalProcess } from "../process-tree.ts";

/** By which names a sandbox's first process goes, from its start to its end. */
const firstPrograms = ["taskset", "prlimit", "perl"];

/** How long a killed process may take to go. */
const goneWithinMs = 5_000;

/**
 * Ends what strays of a sandbox there are and waits until they are gone. Its
 * programs that run stay: they descend from this process. Throws if one does
 * not end.
 */
export async function endStrays(bwrap: string, sandboxId: string): Promise<void> {
  const deadline = Date.now() + goneWithinMs;
  for (;;) {
    const strays = await findStrays(bwrap, sandboxId);
    if (strays.length === 0) return;
    // All of a sandbox's processes end with its first one.
    for (const pid of strays) signalProcess(pid, "SIGKILL");
    if (Date.now() > deadline) throw new Error(`${sandboxId}: a bubblewrap does not end`);
    await pause(2);
  }
}

async function findStrays(bwrap: string, sandboxId: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const lines = await Promise.all(pids.map(commandLine));
  const own = pids.filter((_, at) => {
    const [program = "", ...args] = (lines[at] ?? "").split("\0");
    if (program === bwrap) return args.some((arg) => arg.includes(`/${sandboxId}/`));
    if (firstPrograms.includes(program)) return args.includes(sandboxId);
    // What the resident calls itself.
    return program === `agent ${sandboxId}`;
  });
  const parents = await Promise.all(own.map(parentOf));
  return own.filter((_, i) => {
    const parent = parents[i];
    return parent !== undefined && parent !== process.pid && !own.includes(parent);
  });
}

/** Undefined if the process is gone. */
async function parentOf(pid: number): Promise<number | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    // The second field, the name, may hold spaces and parentheses: count from behind it.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined;
  }
}
