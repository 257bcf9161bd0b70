/**
 * Limits where there are no control groups, or no image for the disk: rlimits
 * for each process, and a look at the sum from time to time. Weaker than the
 * kernel's own accounting, for what happens between two looks is not seen.
 */
import { availableParallelism } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { SandboxLimits } from "../driver.ts";
import { readDiskUse } from "../kernel-receipt.ts";
import { children, descendants, residentBytes, signalProcess } from "../process-tree.ts";
import { runTool } from "../run-tool.ts";

/** What is watched. */
export interface LimitWatchOptions {
  readonly limits: SandboxLimits;
  /** The sandbox's first process as the host numbers it. It is never ended. */
  readonly init: number;
  /** Folders whose sizes together must not exceed the disk limit. May be empty. */
  readonly folders: readonly string[];
  readonly watchMemory: boolean;
}

/** How often the memory is looked at. */
export const memoryEveryMs = 100;
/** How often the disk is looked at. */
export const diskEveryMs = 1_000;
/** Above the memory limit: room for address space that programs map and never touch. */
const slackBytes = 512 * 1024 * 1024;
const mib = 1024 * 1024;

/**
 * What the first process is run by, so that rlimits hold for it and for all that
 * it starts: data size, file size, number of processes of its user namespace,
 * and whole CPUs.
 */
export function limitWrappers({ memoryMib, pids, diskMib, cpuMillis }: SandboxLimits): string[] {
  const cpus = Math.min(availableParallelism(), Math.ceil(cpuMillis / 1000));
  const data = memoryMib * mib + slackBytes;
  const sizes = [`--data=${data}`, `--fsize=${diskMib * mib}`];
  return [
    ...["taskset", "-c", `0-${cpus - 1}`],
    ...["prlimit", ...sizes, `--nproc=${pids}`, "--core=0", "--"],
  ];
}

/** Watches one sandbox until it is stopped. */
export class LimitWatch {
  /** How often the memory limit has ended something. */
  memoryKills = 0;
  /** How often the disk limit has ended everything. */
  diskKills = 0;
  /** The most memory that was seen in use at once. */
  peakBytes = 0;
  readonly #options: LimitWatchOptions;
  readonly #stop = new AbortController();
  #diskMibBefore = 0;
  #usedAtStart: number | undefined;

  constructor(options: LimitWatchOptions) {
    this.#options = options;
    if (options.watchMemory) this.#every(memoryEveryMs, () => this.#checkMemory());
    if (options.folders.length > 0) this.#every(diskEveryMs, () => this.#checkDisk());
  }

  /** What all of the sandbox's programs use now, in bytes. */
  async memoryBytes(): Promise<number> {
    const bytes = await residentBytes(await descendants(this.#options.init));
    this.peakBytes = Math.max(this.peakBytes, bytes);
    return bytes;
  }

  /** What lies in the watched folders, in bytes; undefined if none are watched. */
  async diskBytes(): Promise<number | undefined> {
    return this.#options.folders.length === 0 ? undefined : (await this.#diskMib()) * mib;
  }

  /** Ends the watch. */
  stop(): void {
    this.#stop.abort();
  }

  async #every(intervalMs: number, check: () => Promise<void>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await pause(intervalMs, undefined, { signal: this.#stop.signal, ref: false });
        await check();
      } catch {
        // Stopped, or a folder went while it was measured: the next look tells.
      }
    }
  }

  async #checkMemory(): Promise<void> {
    if ((await this.memoryBytes()) <= this.#options.limits.memoryMib * mib) return;
    // The heaviest program goes, with all that it has started and still holds.
    const families = (await children(this.#options.init)).map(async (pid) => {
      const family = [pid, ...(await descendants(pid))];
      return { family, bytes: await residentBytes(family) };
    });
    const [heaviest] = (await Promise.all(families)).sort((a, b) => b.bytes - a.bytes);
    if (heaviest === undefined) return;
    this.memoryKills++;
    for (const pid of heaviest.family) signalProcess(pid, "SIGKILL");
  }

  /** Over the limit, whatever writes on is ended; what only reads is not. */
  async #checkDisk(): Promise<void> {
    const before = this.#diskMibBefore;
    const now = await this.#diskMib();
    this.#diskMibBefore = now;
    if (now <= this.#options.limits.diskMib || now <= before) return;
    this.diskKills++;
    for (const pid of await descendants(this.#options.init)) signalProcess(pid, "SIGKILL");
  }

  async #diskMib(): Promise<number> {
    const { folders } = this.#options;
    const [first = "/"] = folders;
    const used = await readDiskUse(first);
    this.#usedAtStart ??= used;
    try {
      const args = ["--summarize", "--total", "--block-size=1M", ...folders];
      const total = (await runTool("du", args, { timeoutMs: 60_000 })).split("\n").at(-2);
      return Number.parseInt(total ?? "0", 10);
    } catch {
      // A program closed a folder against us: what the host's disk has lost since then counts.
      return Math.max(0, used - this.#usedAtStart) / mib;
    }
  }
}
