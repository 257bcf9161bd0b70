/**
 * The files of one control group, version 1 and 2: its limits read back, what it
 * uses, its processes, its freezer. Making and removing groups is left to
 * `cgroup.ts`.
 */
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { SandboxStats } from "./driver.ts";
import type { Measured, SandboxReceipt } from "./receipt.ts";

/** The limits of a group as members of a receipt; one that is not set is `noLimit`. */
export type CgroupLimits = Pick<
  SandboxReceipt,
  "memoryBytes" | "memoryAndSwapBytes" | "cpuMillis" | "pids"
>;

/** What a group uses, as members of the stats. */
export type CgroupUsage = Omit<SandboxStats, "diskBytes">;

/** Where the files of one group lie: all in one folder, or one folder for each controller. */
export type CgroupFolders =
  | { readonly version: 2; readonly folder: string }
  | {
      readonly version: 1;
      readonly memory: string;
      readonly cpu: string;
      readonly pids: string;
      /** Absent: how much processor time was used is not known, and is told as 0. */
      readonly cpuacct?: string | undefined;
      /** Absent: it cannot be frozen. */
      readonly freezer?: string | undefined;
    };

/** What stands for "no limit" in a receipt. */
export const noLimit = Number.MAX_SAFE_INTEGER;

/** A group without processes is taken away within a few of these. */
const looksEveryMs = 20;
/** By periods of this length a group's share of the processors is counted. */
export const cpuPeriodUs = 100_000;

const freezesWithinMs = 5_000;

/** What the processes of a group get above its cap to die with. */
const deathBytes = 256 * 1024 * 1024;

/** All folders of a group, each once. */
export function foldersOf(at: CgroupFolders): string[] {
  if (at.version === 2) return [at.folder];
  const { memory, cpu, pids, cpuacct, freezer } = at;
  const all = [memory, cpu, pids, cpuacct, freezer].filter((folder) => folder !== undefined);
  return [...new Set(all)];
}

/** Reads the limits back. Throws if the group or a controller is not there. */
export async function readLimits(at: CgroupFolders): Promise<CgroupLimits> {
  return at.version === 2 ? limitsOfV2(at.folder) : limitsOfV1(at);
}

/** Writes what the group may use of the processors, and whether its siblings come first. */
export async function writeCpu(
  at: CgroupFolders,
  cpuMillis: number,
  behind: boolean,
): Promise<void> {
  const quota = String((cpuMillis * cpuPeriodUs) / 1000);
  // A sixteenth of what each weighs by itself: the least there is would never come to an end.
  if (at.version === 2) {
    await writeFile(join(at.folder, "cpu.max"), `${quota} ${cpuPeriodUs}`, { flag: "r+" });
    await writeFile(join(at.folder, "cpu.weight"), behind ? "6" : "100", { flag: "r+" });
    return;
  }
  await writeFile(join(at.cpu, "cpu.cfs_quota_us"), quota, { flag: "r+" });
  await writeFile(join(at.cpu, "cpu.shares"), behind ? "64" : "1024", { flag: "r+" });
}

async function limitsOfV1({
  memory,
  cpu,
  pids,
}: CgroupFolders & { readonly version: 1 }): Promise<CgroupLimits> {
  const [memoryBytes, swap, quota, period, most] = await Promise.all([
    measured(join(memory, "memory.limit_in_bytes")),
    optional(measured(join(memory, "memory.memsw.limit_in_bytes"))),
    measured(join(cpu, "cpu.cfs_quota_us")),
    measured(join(cpu, "cpu.cfs_period_us")),
    measured(join(pids, "pids.max")),
  ]);
  return {
    memoryBytes,
    ...(swap !== undefined && { memoryAndSwapBytes: swap }),
    cpuMillis: {
      value: quota.value < 0 ? noLimit : (quota.value * 1000) / period.value,
      source: quota.source,
    },
    pids: most,
  };
}

async function limitsOfV2(folder: string): Promise<CgroupLimits> {
  const cpuFile = join(folder, "cpu.max");
  const [memoryBytes, swap, cpu, pids] = await Promise.all([
    measured(join(folder, "memory.max")),
    optional(measured(join(folder, "memory.swap.max"))),
    readFile(cpuFile, "latin1"),
    measured(join(folder, "pids.max")),
  ]);
  const [quota = "max", period = ""] = cpu.trim().split(" ");
  return {
    memoryBytes,
    ...(swap !== undefined && {
      memoryAndSwapBytes: {
        value: Math.min(noLimit, memoryBytes.value + swap.value),
        source: swap.source,
      },
    }),
    cpuMillis: {
      value: quota === "max" ? noLimit : (Number(quota) * 1000) / Number(period),
      source: cpuFile,
    },
    pids,
  };
}

/** Reads what the group uses. Throws if it is not there. */
export async function readUsage(at: CgroupFolders): Promise<CgroupUsage> {
  const isNew = at.version === 2;
  const memory = isNew ? at.folder : at.memory;
  const pidsFolder = isNew ? at.folder : at.pids;
  const cpuFolder = isNew ? at.folder : at.cpu;
  const number = (folder: string, name: string) =>
    measured(join(folder, name)).then(({ value }) => value);
  const [cpuStat, accounted, memoryBytes, peak, pids, refused] = await Promise.all([
    readFile(join(cpuFolder, "cpu.stat"), "latin1"),
    isNew || at.cpuacct === undefined ? undefined : number(at.cpuacct, "cpuacct.usage"),
    number(memory, isNew ? "memory.current" : "memory.usage_in_bytes"),
    optional(number(memory, isNew ? "memory.peak" : "memory.max_usage_in_bytes")),
    number(pidsFolder, "pids.current"),
    optional(readFile(join(pidsFolder, "pids.events"), "latin1")),
  ]);
  const cpuNs = isNew ? field(cpuStat, "usage_usec") * 1000 : (accounted ?? 0);
  const throttledNs = isNew
    ? field(cpuStat, "throttled_usec") * 1000
    : field(cpuStat, "throttled_time");
  return {
    cpuMs: cpuNs / 1e6,
    throttledMs: throttledNs / 1e6,
    memoryBytes,
    peakMemoryBytes: Math.max(peak ?? 0, memoryBytes),
    pids,
    pidsRefused: field(refused ?? "", "max"),
  };
}

/** How many processes the memory cap has ended so far; 0 if the group is gone. */
export async function readOomKills(at: CgroupFolders): Promise<number> {
  const file =
    at.version === 2 ? join(at.folder, "memory.events") : join(at.memory, "memory.oom_control");
  // Gone: the sandbox was deleted, and that, not the cap, ended what was in it.
  return field((await optional(readFile(file, "latin1"))) ?? "", "oom_kill");
}

/** How many starts of a process the cap on them has refused so far; 0 if the group is gone. */
export async function readPidsRefused(at: CgroupFolders): Promise<number> {
  const file = join(at.version === 2 ? at.folder : at.pids, "pids.events");
  return field((await optional(readFile(file, "latin1"))) ?? "", "max");
}

/** The same, looked at again and again: the group may be gone when its end is heard of. */
export function watchPidsRefused(at: CgroupFolders): { readonly refused: number; close(): void } {
  const file = join(at.version === 2 ? at.folder : at.pids, "pids.events");
  let refused = 0;
  const look = () => {
    try {
      refused = Math.max(refused, field(readFileSync(file, "latin1"), "max"));
    } catch {
      // It is gone, and what was counted stays.
      clearInterval(timer);
    }
  };
  const timer = setInterval(look, looksEveryMs);
  timer.unref();
  return {
    get refused() {
      look();
      return refused;
    },
    close: () => clearInterval(timer),
  };
}

/** The processes of the group, without those of groups below it; none if it is gone. */
export async function readProcesses(at: CgroupFolders): Promise<number[]> {
  const file = join(at.version === 2 ? at.folder : at.pids, "cgroup.procs");
  const text = (await optional(readFile(file, "latin1"))) ?? "";
  return text.split("\n").filter(Boolean).map(Number);
}

/** Lets nothing start in the group until the answer is called. Throws if it is not there. */
export async function closeStarts(at: CgroupFolders): Promise<() => Promise<void>> {
  const file = join(at.version === 2 ? at.folder : at.pids, "pids.max");
  const most = await readFile(file, "latin1");
  await writeFile(file, "0", { flag: "r+" });
  return async () => {
    await optional(writeFile(file, most.trim(), { flag: "r+" }));
  };
}

/**
 * Lets all of a group that is about to be ended die: nothing starts in it any more, and what is
 * in it has the memory and the processor time that dying takes. Processes at their memory cap
 * have none left to die with, and thrash for minutes. Never throws: what cannot be eased ends more
 * slowly.
 */
export async function easeEnd(at: CgroupFolders): Promise<void> {
  const isNew = at.version === 2;
  const { pids, memory, cpu } = isNew ? { pids: at.folder, memory: at.folder, cpu: at.folder } : at;
  // With swap first: it is never below memory alone.
  const capped = isNew ? ["memory.max"] : ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"];
  const [cpuFile, unbound] = isNew ? ["cpu.max", `max ${cpuPeriodUs}`] : ["cpu.cfs_quota_us", "-1"];
  const steps = [
    () => writeFile(join(pids, "pids.max"), "0", { flag: "r+" }),
    () => writeFile(join(cpu, cpuFile), unbound, { flag: "r+" }),
    ...capped.map((name) => () => raise(join(memory, name))),
  ];
  for (const step of steps) await step().catch(() => {});
}

async function raise(file: string): Promise<void> {
  const { value } = await measured(file);
  if (value < noLimit) await writeFile(file, String(value + deathBytes), { flag: "r+" });
}

/** True if the group can be frozen. */
export function canFreeze(at: CgroupFolders): boolean {
  return at.version === 2 || at.freezer !== undefined;
}

/**
 * Stops all of the group where it stands, or lets it go on; resolves when that
 * holds. Throws if it cannot be frozen, or is not within 5 s.
 */
export async function setFrozen(at: CgroupFolders, frozen: boolean): Promise<void> {
  const deadline = Date.now() + freezesWithinMs;
  if (at.version === 2) {
    await writeFile(join(at.folder, "cgroup.freeze"), frozen ? "1" : "0", { flag: "r+" });
    while ((await isFrozenV2(at.folder)) !== frozen) await nextLook(at.folder, deadline);
    return;
  }
  const { freezer } = at;
  if (freezer === undefined) throw new Error(`${at.memory}: there is no freezer`);
  const file = join(freezer, "freezer.state");
  const wanted = frozen ? "FROZEN" : "THAWED";
  await writeFile(file, wanted, { flag: "r+" });
  while ((await readFile(file, "latin1")).trim() !== wanted) await nextLook(freezer, deadline);
}

/** As `setFrozen(at, false)`; does nothing if the group is gone or has no freezer. */
export async function letGo(at: CgroupFolders): Promise<void> {
  if (canFreeze(at)) await optional(setFrozen(at, false));
}

async function isFrozenV2(folder: string): Promise<boolean> {
  return field(await readFile(join(folder, "cgroup.events"), "latin1"), "frozen") === 1;
}

async function nextLook(folder: string, deadline: number): Promise<void> {
  if (Date.now() > deadline) throw new Error(`${folder}: its processes do not freeze or go on`);
  await pause(1);
}

async function measured(file: string): Promise<Measured<number>> {
  const text = (await readFile(file, "latin1")).trim();
  const value = text === "max" ? noLimit : Number(text);
  if (text === "" || Number.isNaN(value)) throw new Error(`${file} says ${JSON.stringify(text)}`);
  return { value: Math.min(value, noLimit), source: file };
}

/** The number behind a name in a file of such lines; 0 if it is not in it. */
function field(text: string, name: string): number {
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

/** Undefined where the file is not there; ENODEV is what a group says that goes meanwhile. */
async function optional<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error: unknown) {
    if (isCode(error, "ENOENT") || isCode(error, "ENODEV")) return undefined;
    throw error;
  }
}

/** True for an error of the system with that code. */
export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
