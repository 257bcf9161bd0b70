/**
 * Limits where there are no control groups, or no image for the disk: rlimits
 * for each process, and a look at the sum from time to time. Weaker than the
 * kernel's own accounting, for what happens between two looks is not seen.
 */
import { availableParallelism } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { SandboxLimits } from "../driver.ts";
import { runTool } from "../run-tool.ts";
import type { BwrapProcess } from "./bwrap-process.ts";

/** What is watched. */
export interface LimitWatchOptions {
  readonly limits: SandboxLimits;
  /** Folders whose sizes together must not exceed the disk limit. May be empty. */
  readonly folders: readonly string[];
  readonly watchMemory: boolean;
  readonly running: () => ReadonlySet<BwrapProcess>;
}

const memoryEveryMs = 100;
const diskEveryMs = 1_000;
/** Above the memory limit: room for address space that programs map and never touch. */
const slackBytes = 512 * 1024 * 1024;

/** Watches one sandbox until it is stopped. */
export class LimitWatch {
  readonly #options: LimitWatchOptions;
  readonly #stop = new AbortController();

  constructor(options: LimitWatchOptions) {
    this.#options = options;
    if (options.watchMemory) this.#every(memoryEveryMs, () => this.#checkMemory());
    if (options.folders.length > 0) this.#every(diskEveryMs, () => this.#checkDisk());
  }

  /**
   * What programs are run by, so that rlimits hold for it: data size, file
   * size, number of processes of its user namespace, and whole CPUs.
   */
  wrappers(): string[][] {
    const { memoryMib, pids, diskMib, cpuMillis } = this.#options.limits;
    const cpus = Math.min(availableParallelism(), Math.ceil(cpuMillis / 1000));
    const data = memoryMib * 1024 * 1024 + slackBytes;
    const fileSize = diskMib * 1024 * 1024;
    return [
      ["taskset", "-c", `0-${cpus - 1}`],
      ["prlimit", `--data=${data}`, `--fsize=${fileSize}`, `--nproc=${pids}`, "--core=0", "--"],
    ];
  }

  /** Ends the watch. */
  stop(): void {
    this.#stop.abort();
  }

  async #every(intervalMs: number, check: () => Promise<void>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await pause(intervalMs, undefined, { signal: this.#stop.signal, ref: false });
        if (this.#options.running().size > 0) await check();
      } catch {
        // Stopped, or a folder went while it was measured: the next look tells.
      }
    }
  }

  async #checkMemory(): Promise<void> {
    const running = [...this.#options.running()];
    const sizes = await Promise.all(running.map((program) => program.memoryBytes()));
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    if (total <= this.#options.limits.memoryMib * 1024 * 1024) return;
    const largest = running[sizes.indexOf(Math.max(...sizes))];
    await largest?.killForMemory();
  }

  async #checkDisk(): Promise<void> {
    const args = ["--summarize", "--total", "--block-size=1M", ...this.#options.folders];
    const total = Number.parseInt(
      (await runTool("du", args, { timeoutMs: 60_000 })).split("\n").at(-2) ?? "0",
      10,
    );
    if (total <= this.#options.limits.diskMib) return;
    await Promise.all([...this.#options.running()].map((program) => program.signal("SIGKILL")));
  }
}
