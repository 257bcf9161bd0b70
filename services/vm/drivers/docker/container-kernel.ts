/**
 * What the kernel shows of one container: from outside, by its first process and its group,
 * where the engine runs on this kernel; else from inside, by the resident, before anything
 * else has run there. Which values a sandbox must have is left to `receipt-check.ts`.
 */
import { readFile } from "node:fs/promises";
import { type Cgroup, cgroupOf, type RefusalWatch } from "../cgroup.ts";
import type { Isolation, SandboxStats } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import {
  type ProcessReceipt,
  processReceipt,
  readDiskReceipt,
  readDiskUse,
  readProcessReceipt,
} from "../kernel-receipt.ts";
import type { Measured, SandboxReceipt } from "../receipt.ts";
import type { ResidentChannel } from "../resident/channel.ts";
import type { CapCounts } from "../resident/resident-sandbox.ts";
import { readInsideLimits } from "./inside-limits.ts";

/** Where to look. */
export interface KernelPlace {
  readonly driver: string;
  readonly isolation: Isolation;
  readonly engine: string;
  readonly containerId: string;
  /** Of its first process, as the engine counts. */
  readonly pid: number;
  readonly channel: ResidentChannel;
  /** The work dir on this host; absent: it is in the container alone. */
  readonly work: string | undefined;
}

/** Processes and threads, and the usage, as an engine tells them. */
export type EngineStats = Omit<SandboxStats, "diskBytes">;

/** A kernel that does not show these is taken not to have them: its own lines come first. */
const notShown = "NoNewPrivs:\t0\nSeccomp:\t0\n";

/** How a container's kernel is read. */
export class ContainerKernel {
  readonly #place: KernelPlace;
  readonly #group: Cgroup | undefined;

  /** `group` is absent where the container is not on this kernel or may not be read. */
  constructor(place: KernelPlace, group: Cgroup | undefined) {
    this.#place = place;
    this.#group = group;
  }

  /** Finds out by reading whether the container can be read from outside. */
  static async find(place: KernelPlace): Promise<ContainerKernel> {
    try {
      // Another kernel may have a process of that number, but not one in the container's group.
      const membership = await readFile(`/proc/${place.pid}/cgroup`, "latin1");
      if (!membership.includes(place.containerId)) return new ContainerKernel(place, undefined);
      const group = await cgroupOf(place.pid);
      await group.limits();
      await readProcessReceipt(place.pid);
      return new ContainerKernel(place, group);
    } catch {
      // Gone, on another host, or another user's: the resident looks instead.
      return new ContainerKernel(place, undefined);
    }
  }

  /** What the container is held to. Throws SANDBOX_FAILED where that cannot be read. */
  async receipt(): Promise<SandboxReceipt> {
    const { driver, isolation, engine, work } = this.#place;
    try {
      const [process, limits, diskBytes] = await Promise.all([
        this.#process(),
        this.#group?.limits() ?? readInsideLimits(this.#place.channel),
        work === undefined ? this.#insideDisk() : readDiskReceipt(work),
      ]);
      return { driver, isolation, engine, ...limits, ...process, diskBytes };
    } catch (error: unknown) {
      throw sandboxFailed(driver, "what the container is held to cannot be read", error);
    }
  }

  /** What is used now; `ask` is the engine's own answer, for where nothing else is to be had. */
  async stats(ask: () => Promise<EngineStats>): Promise<SandboxStats> {
    const [usage, diskBytes] = await Promise.all([this.#group?.usage() ?? ask(), this.#diskUse()]);
    return { ...usage, diskBytes };
  }

  /** What the group's caps have refused and ended. Nothing where it cannot be read. */
  async counts(): Promise<CapCounts> {
    if (this.#group === undefined) return { oomKills: 0, pidsRefused: 0 };
    const [oomKills, pidsRefused] = await Promise.all([
      this.#group.oomKills(),
      this.#group.pidsRefused(),
    ]);
    return { oomKills, pidsRefused };
  }

  /** For a container that is about to be removed: its caps let all in it die. */
  async easeEnd(): Promise<void> {
    await this.#group?.easeEnd();
  }

  /** Ends all beside the resident. Does nothing where its group cannot be reached. */
  async endPrograms(): Promise<void> {
    // A sentry's processes are not those of its guests.
    if (this.#place.isolation !== "gvisor") await this.#group?.endAllBut(this.#place.pid);
  }

  /** As the group's own. Undefined where it cannot be read. */
  watchPidsRefused(): RefusalWatch | undefined {
    return this.#group?.watchPidsRefused();
  }

  /** How many processes run beside the resident. Never throws. */
  async processes(): Promise<number> {
    try {
      // A sentry's processes are not those of its guests.
      if (this.#group !== undefined && this.#place.isolation !== "gvisor") {
        return Math.max(0, (await this.#group.processes()).length - 1);
      }
      const names = (await this.#place.channel.read("/proc")) ?? "";
      return Math.max(0, names.split("\n").filter((name) => /^\d+$/.test(name)).length - 1);
    } catch {
      // The container is gone, and all that ran in it.
      return 0;
    }
  }

  async #process(): Promise<ProcessReceipt> {
    const { isolation, pid } = this.#place;
    if (this.#group === undefined) return this.#inside();
    const outside = await readProcessReceipt(pid);
    if (isolation !== "gvisor") return outside;
    // The sandbox has a kernel of its own: who runs in it and what it sees is told by that
    // one; what holds that kernel itself, which is an ordinary process, by the host's.
    const inside = await this.#inside();
    const { noNewPrivileges, seccomp, namespaces } = outside;
    return { ...inside, noNewPrivileges, seccomp, namespaces };
  }

  async #inside(): Promise<ProcessReceipt> {
    const folder = "/proc/self";
    const [status, mountinfo, netDev] = await Promise.all(
      ["status", "mountinfo", "net/dev"].map((name) => this.#read(`${folder}/${name}`)),
    );
    const files = { mountinfo: mountinfo ?? "", netDev: netDev ?? "", namespaces: new Map() };
    return processReceipt(
      { ...files, status: `${status ?? ""}\n${notShown}` },
      new Map(),
      `inside:${folder}`,
    );
  }

  async #read(path: string): Promise<string> {
    const text = await this.#place.channel.read(path);
    if (text === undefined) throw new Error(`there is no ${path} in the container`);
    return text;
  }

  async #insideDisk(): Promise<Measured<number>> {
    const { size, blocks } = await this.#insideRoom();
    return { value: size * blocks, source: "inside:statfs /work" };
  }

  async #diskUse(): Promise<number> {
    if (this.#place.work !== undefined) return readDiskUse(this.#place.work);
    const { size, blocks, free } = await this.#insideRoom();
    return size * (blocks - free);
  }

  async #insideRoom(): Promise<{ size: number; blocks: number; free: number }> {
    const [size = 0, blocks = 0, free = 0] = (await this.#read("statfs:/work"))
      .split(" ")
      .map(Number);
    return { size, blocks, free };
  }
}
