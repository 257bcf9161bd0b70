/**
 * Owns the way from the wish for a guest to an agent that answers, and back to nothing when
 * it fails on the way. Used for sandboxes and for finding out what this host can do.
 */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Cgroup, CgroupHost } from "../cgroup.ts";
import type { SandboxDoor, SandboxLimits } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { type GuestMount, ResidentChannel } from "../resident/channel.ts";
import { makeScratch } from "./disk-images.ts";
import type { Launcher } from "./launcher.ts";
import { type Accelerator, startVm, type VirtualMachine, type VmDisk } from "./vm-process.ts";

/** What every guest of a driver has in common. */
export interface GuestSetting {
  readonly binary: string;
  readonly guestDir: string;
  readonly launcher: Launcher;
  readonly accelerator: Accelerator;
  readonly kvmGroup?: number | undefined;
  /** How long a boot may take. */
  readonly bootLimitMs: number;
  /** Where QEMU itself can be bounded on this host. */
  readonly cgroups?: CgroupHost | undefined;
}

/** A read-only image for a guest. */
export interface BootMount extends GuestMount {
  /** The image on the host. */
  readonly imagePath: string;
}

/** What one guest shall be. */
export interface BootOptions {
  readonly setting: GuestSetting;
  readonly id: string;
  /** The sandbox's folder on the host; the scratch disk is made in it. */
  readonly folder: string;
  readonly limits: SandboxLimits;
  readonly mounts: readonly BootMount[];
  readonly doors: readonly SandboxDoor[];
  readonly signal?: AbortSignal | undefined;
}

/** A guest whose resident answers. */
export interface Guest {
  readonly channel: ResidentChannel;
  /** Ends it at once; nothing of it but its folder is left on the host then. */
  remove(): Promise<void>;
}

/** What the guest's kernel and agent take, beside what the sandbox may use. */
const OVERHEAD_MIB = 128;
/** What QEMU takes on the host beside the guest's memory: translated code, devices. */
const QEMU_MIB = 384;
/** QEMU has one thread per processor and some for its disks. */
const QEMU_THREADS = 256;
/** What QEMU's devices may use of a processor beside the guest's own share. */
const QEMU_CPU_MILLIS = 250;
const MIB = 1 << 20;

/**
 * Boots a guest. Throws SANDBOX_FAILED, or CANCELLED when `signal` fires; nothing runs and
 * no disk is left then.
 */
export async function bootGuest(options: BootOptions): Promise<Guest> {
  const { setting, limits, signal } = options;
  const limit = AbortSignal.timeout(setting.bootLimitMs);
  const stop = signal ? AbortSignal.any([signal, limit]) : limit;
  const disks: VmDisk[] = [];
  const memoryMib = limits.memoryMib + OVERHEAD_MIB;
  let group: Cgroup | undefined;
  try {
    group = await setting.cgroups?.create(options.id, {
      ...limits,
      memoryMib: memoryMib + QEMU_MIB,
      cpuMillis: limits.cpuMillis + QEMU_CPU_MILLIS,
      pids: QEMU_THREADS,
    });
    disks.push(await scratchOf(options));
    for (const { serial, imagePath } of options.mounts) {
      disks.push({ serial, source: await open(imagePath) });
    }
    stop.throwIfAborted();
    const vm = await startVm({
      ...setting,
      id: options.id,
      cpus: Math.max(1, Math.ceil(limits.cpuMillis / 1000)),
      memoryMib,
      disks,
    });
    const channel = await answering(vm, options, stop, group);
    const remove = async () => {
      channel.close();
      await vm.kill();
      await group?.remove();
    };
    return { channel, remove };
  } catch (error: unknown) {
    await group?.remove();
    if (signal?.aborted)
      throw new DevmeshError("CANCELLED", "the start was cancelled", { cause: error });
    if (error instanceof DevmeshError) throw error;
    const why = limit.aborted
      ? `the guest did not answer within ${setting.bootLimitMs} ms`
      : "the guest cannot be started";
    throw sandboxFailed("qemu", why, error);
  } finally {
    // QEMU has its own copies by now.
    await Promise.all(disks.flatMap(({ source, target }) => [source.close(), target?.close()]));
  }
}

/** Without a name from the start: its space is free as soon as its guest is gone. */
async function scratchOf({ folder, limits }: BootOptions): Promise<VmDisk> {
  const path = join(folder, "scratch.ext4");
  try {
    await makeScratch(path, limits.diskMib);
    return { serial: "scratch", source: await open(path), target: await open(path, "r+") };
  } finally {
    await rm(path, { force: true });
  }
}

async function answering(
  vm: VirtualMachine,
  { limits, mounts, doors }: BootOptions,
  stop: AbortSignal,
  group: Cgroup | undefined,
): Promise<ResidentChannel> {
  const channel = new ResidentChannel({
    connection: vm.connection,
    driver: "qemu",
    onBroken: () => void vm.kill(),
  });
  vm.ended.then((words) => channel.fail(endedEarly(words)));
  const onStop = () => channel.fail(endedEarly("it was stopped"));
  stop.addEventListener("abort", onStop, { once: true });
  try {
    await group?.add(vm.pid);
    stop.throwIfAborted();
    await channel.hello;
    const now = Date.now();
    await channel.configure([
      ["clock", Math.floor(now / 1000), (now % 1000) * 1_000_000],
      ["limits", limits.memoryMib * MIB, limits.pids, limits.cpuMillis * 100],
      ...mounts.map(
        ({ serial, sandboxPath, kind }) => ["mount", serial, sandboxPath, kind] as const,
      ),
    ]);
    await channel.openDoors(doors);
    return channel;
  } catch (error: unknown) {
    await vm.kill();
    const words = await vm.ended;
    const detail = error instanceof DevmeshError ? error.message : "";
    stop.throwIfAborted();
    throw endedEarly(`${detail} ${words}`);
  } finally {
    stop.removeEventListener("abort", onStop);
  }
}

/** The last words can be a whole stack trace: they are for the log. */
function endedEarly(words: string): DevmeshError {
  return sandboxFailed("qemu", "the virtual machine ended while it started", new Error(words));
}
