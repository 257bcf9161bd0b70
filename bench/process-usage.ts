/** What the kernel says of a process and its children: memory and processor time. Linux only. */
import { readdirSync, readFileSync } from "node:fs";

/** A moment's usage of a process with all its children. */
export interface ProcessUsage {
  /** Resident memory, in MiB. */
  readonly rssMiB: number;
  /** Processor time so far, in milliseconds. */
  readonly cpuMs: number;
  /** Processes in it. */
  readonly processes: number;
}

/** Clock ticks of `/proc` in one second: 100 on every Linux that Node runs on. */
const ticksPerS = 100;

const pageBytes = 4096;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly cpuMs: number;
  readonly rssMiB: number;
}

/** Usage of a process and everything that it started and that still runs. */
export function usageOf(pid: number): ProcessUsage {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(Number(name)));
  const tree = new Set([pid]);
  for (let size = 0; size !== tree.size; ) {
    size = tree.size;
    for (const stat of all) if (tree.has(stat.parent)) tree.add(stat.pid);
  }
  const own = all.filter((stat) => tree.has(stat.pid));
  return {
    rssMiB: own.reduce((sum, { rssMiB }) => sum + rssMiB, 0),
    cpuMs: own.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    processes: own.length,
  };
}

function statOf(pid: number): Stat[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The program's name stands in brackets and may hold blanks.
    const fields = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const [, parent = 0] = fields;
    const ticks = (fields[11] ?? 0) + (fields[12] ?? 0);
    const rssMiB = ((fields[21] ?? 0) * pageBytes) / 1024 / 1024;
    return [{ pid, parent, cpuMs: (ticks * 1000) / ticksPerS, rssMiB }];
  } catch {
    // It ended meanwhile.
    return [];
  }
}
