/** Holds a Seatbelt sandbox to its limits by looking from time to time; the kernel bounds none of them. */
import { setTimeout as pause } from "node:timers/promises";
import type { SandboxLimits } from "../driver.ts";
import { signalProcess } from "../process-tree.ts";
import { runTool } from "../run-tool.ts";
import type { SeatbeltFamily } from "./seatbelt-family.ts";

/** How often it looks. */
export const lookEveryMs = 250;

const mib = 1024 * 1024;

/** Watches one sandbox until it is stopped. */
export class SeatbeltWatch {
  /** What was exceeded so far. */
  readonly met = { memory: 0, pids: 0, disk: 0 };
  /** The most memory that was seen in use at once. */
  peakBytes = 0;
  readonly #stop = new AbortController();
  readonly #family: SeatbeltFamily;
  readonly #limits: SandboxLimits;
  readonly #folder: string;

  constructor(family: SeatbeltFamily, limits: SandboxLimits, folder: string) {
    this.#family = family;
    this.#limits = limits;
    this.#folder = folder;
    void this.#run();
  }

  /** What lies in the sandbox's folders, in bytes. */
  async diskBytes(): Promise<number> {
    const [kib = "0"] = (await runTool("du", ["-sk", this.#folder])).split(/\s/);
    return Number(kib) * 1024;
  }

  /** Ends the watch. */
  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await pause(lookEveryMs, undefined, { signal: this.#stop.signal, ref: false });
        await this.#look();
      } catch {
        // Stopped, or something went while it was looked at: the next look tells.
      }
    }
  }

  async #look(): Promise<void> {
    const { pids, memoryBytes } = await this.#family.use();
    this.peakBytes = Math.max(this.peakBytes, memoryBytes);
    if (pids === 0) return;
    const { memoryMib, pids: mostPids, diskMib } = this.#limits;
    if (memoryBytes > memoryMib * mib) return this.#endAll("memory");
    if (pids > mostPids) return this.#endAll("pids");
    if ((await this.diskBytes()) > diskMib * mib) return this.#endAll("disk");
  }

  async #endAll(cap: "memory" | "pids" | "disk"): Promise<void> {
    this.met[cap]++;
    for (const pid of await this.#family.pids()) signalProcess(pid, "SIGKILL");
  }
}
