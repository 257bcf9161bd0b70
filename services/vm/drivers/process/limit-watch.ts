/**
 * Limits where there are no control groups, or no image for the disk: rlimits
 * for each process, and a look at the sum from time to time. Weaker than the
 * kernel's own accounting: what happens between two looks is not seen, and neither
 * is memory or a nameless file of which a process keeps no more than a mapped part.
 */
import { stat, statfs } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { SandboxLimits } from "../driver.ts";
import { children, descendants, signalProcess } from "../process-tree.ts";
import { lookInside } from "./inside-look.ts";
import { readHold } from "./tree-hold.ts";

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
/** How often the disk is looked at, and System V memory. */
export const diskEveryMs = 1_000;
/** Above the memory limit: room for address space that programs map and never touch. */
const slackBytes = 512 * 1024 * 1024;
/** A disk that could not be measured so often in a row counts as full. */
const mostBlindLooks = 5;
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

/** The memory that the whole sandbox has as a file system. */
interface SharedFolder {
  readonly device: number | undefined;
  readonly bytes: number;
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
  #diskBytesBefore = 0;
  #systemVBytes = 0;
  #blindLooks = 0;

  constructor(options: LimitWatchOptions) {
    this.#options = options;
    if (options.watchMemory) void this.#every(memoryEveryMs, () => this.#checkMemory());
    void this.#every(diskEveryMs, () => this.#checkInside());
  }

  /** What all of the sandbox's programs use now, in bytes. */
  async memoryBytes(): Promise<number> {
    return (await this.#lookAtMemory()).bytes;
  }

  /** What lies in the watched folders or has no name any more, in bytes; undefined if none are watched. */
  async diskBytes(): Promise<number | undefined> {
    return this.#options.folders.length === 0 ? undefined : await this.#lookAtDisk();
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
        // Stopped, or something went while it was measured: the next look tells.
      }
    }
  }

  async #checkMemory(): Promise<void> {
    const { bytes, device, hidden } = await this.#lookAtMemory();
    // What nobody can look at could hold anything.
    if (hidden.length > 0) this.#endForMemory(hidden);
    if (bytes <= this.#options.limits.memoryMib * mib) return;
    // The heaviest program goes, with all that it has started and still holds.
    const families = (await children(this.#options.init)).map(async (pid) => {
      const family = [pid, ...(await descendants(pid))];
      return { family, bytes: (await readHold(family, device)).memoryBytes };
    });
    const [heaviest] = (await Promise.all(families)).sort((a, b) => b.bytes - a.bytes);
    if (heaviest !== undefined) this.#endForMemory(heaviest.family);
  }

  #endForMemory(pids: readonly number[]): void {
    this.memoryKills++;
    for (const pid of pids) signalProcess(pid, "SIGKILL");
  }

  async #checkInside(): Promise<void> {
    if (this.#options.folders.length > 0) await this.#checkDisk();
    else this.#systemVBytes = (await lookInside(this.#options.init, [])).systemVBytes;
  }

  /** Over the limit, whatever writes on is ended; what only reads is not. */
  async #checkDisk(): Promise<void> {
    const before = this.#diskBytesBefore;
    const now = await this.#lookAtDisk().catch(() => undefined);
    this.#blindLooks = now === undefined ? this.#blindLooks + 1 : 0;
    this.#diskBytesBefore = now ?? before;
    const isOver = now !== undefined && now > this.#options.limits.diskMib * mib && now > before;
    if (!isOver && this.#blindLooks < mostBlindLooks) return;
    this.#blindLooks = 0;
    const pids = await descendants(this.#options.init);
    if (pids.length > 0) this.diskKills++;
    for (const pid of pids) signalProcess(pid, "SIGKILL");
  }

  async #lookAtMemory() {
    const { init } = this.#options;
    const [pids, shared] = await Promise.all([descendants(init), sharedFolder(init)]);
    const { memoryBytes, hidden } = await readHold(pids, shared.device);
    const bytes = memoryBytes + shared.bytes + this.#systemVBytes;
    this.peakBytes = Math.max(this.peakBytes, bytes);
    return { bytes, device: shared.device, hidden };
  }

  async #lookAtDisk(): Promise<number> {
    const { init, folders } = this.#options;
    const [inside, pids, { device }] = await Promise.all([
      lookInside(init, folders),
      descendants(init),
      sharedFolder(init),
    ]);
    const { diskBytes } = await readHold(pids, device);
    this.#systemVBytes = inside.systemVBytes;
    return inside.folderBytes + diskBytes;
  }
}

/** What lies in the sandbox's `/dev/shm`, whoever has it open. */
async function sharedFolder(init: number): Promise<SharedFolder> {
  const path = `/proc/${init}/root/dev/shm`;
  try {
    const [{ dev }, { blocks, bfree, bsize }] = await Promise.all([stat(path), statfs(path)]);
    return { device: dev, bytes: (blocks - bfree) * bsize };
  } catch {
    // The sandbox is gone, or it was made without one.
    return { device: undefined, bytes: 0 };
  }
}
