/**
 * Owns one guest from the start of its QEMU to an agent that answers, and back to nothing
 * when that fails on the way. What is asked of the agent is left to its users.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Cgroup, CgroupHost } from "../cgroup.ts";
import { guestStartFailed, sandboxFailed } from "../driver-errors.ts";
import { isNoProcess } from "../process-tree.ts";
import { ResidentChannel } from "../resident/channel.ts";
import type { Launcher } from "./launcher.ts";
import { type Accelerator, startVm, type VirtualMachine, type VmSpec } from "./vm-process.ts";

/** What every guest of a driver has in common. */
export interface GuestSetting {
  readonly binary: string;
  /** QEMU's, for example `7.2.22`. */
  readonly version: string;
  readonly guestDir: string;
  readonly launcher: Launcher;
  readonly accelerator: Accelerator;
  readonly kvmGroup?: number | undefined;
  /** How long a boot may take. */
  readonly bootLimitMs: number;
  /** Where QEMU itself can be bounded on this host. */
  readonly cgroups?: CgroupHost | undefined;
}

/** What one guest shall be. */
export interface GuestOptions {
  readonly setting: GuestSetting;
  readonly machine: Pick<VmSpec, "id" | "cpus" | "memoryMib" | "memory" | "start" | "disks">;
  /** The job's share of a processor in thousandths. */
  readonly cpuMillis: number;
  /** How long it may take until `use` is done. */
  readonly limitMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** A guest whose QEMU runs. */
export interface Guest {
  readonly vm: VirtualMachine;
  readonly channel: ResidentChannel;
  /** QEMU's own. Absent: the host has none for us. */
  readonly group: Cgroup | undefined;
  /**
   * Gives it another share of a processor, in thousandths. `behind`: other sandboxes come
   * first. Nothing happens where the host has no groups for us.
   */
  holdCpu(cpuMillis: number, behind: boolean): Promise<void>;
  /** How the guest broke the protocol, by which it was ended. Absent: it did not. */
  broken(): DevmeshError | undefined;
  /** Ends it at once; nothing of it but its folder is left on the host then. */
  remove(): Promise<void>;
}

/** What QEMU takes on the host beside the guest's memory: translated code, devices. */
const qemuMib = 384;
/** QEMU has one thread per processor and some for its disks. */
const qemuThreads = 256;
/** What QEMU's devices may use of a processor beside the guest's own share. */
const qemuCpuMillis = 250;

/**
 * Starts a guest and answers what `use` made of it; it is `use` that waits for the agent, and
 * gives up when its signal fires. Throws SANDBOX_FAILED, or CANCELLED when `options.signal`
 * fires; nothing runs then.
 */
export async function withGuest<T>(
  options: GuestOptions,
  use: (guest: Guest, stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const { limitMs, signal } = options;
  const limit = AbortSignal.timeout(limitMs);
  const stop = signal ? AbortSignal.any([signal, limit]) : limit;
  let guest: Guest | undefined;
  try {
    stop.throwIfAborted();
    guest = await start(options);
    return await used(guest, stop, use);
  } catch (error: unknown) {
    await guest?.remove();
    throw guestStartFailed("qemu", error, { signal, limit, limitMs });
  }
}

async function start({ setting, machine, cpuMillis }: GuestOptions): Promise<Guest> {
  const making = setting.cgroups?.create(machine.id, {
    memoryMib: machine.memoryMib + qemuMib,
    cpuMillis: cpuMillis + qemuCpuMillis,
    pids: qemuThreads,
    diskMib: 0,
  });
  // Met below; a machine that cannot be started comes first.
  making?.catch(() => {});
  let vm: VirtualMachine | undefined;
  try {
    vm = await startVm({ ...setting, ...machine });
    const group = await making;
    await group?.add(vm.pid);
    return guestOf(vm, group);
  } catch (error: unknown) {
    await vm?.kill();
    await (await making?.catch(() => undefined))?.remove();
    // One that has ended before it is in its group says itself why.
    throw vm !== undefined && isNoProcess(error) ? endedEarly(await vm.ended, error) : error;
  }
}

function guestOf(vm: VirtualMachine, group: Cgroup | undefined): Guest {
  let broken: DevmeshError | undefined;
  const channel = new ResidentChannel({
    connection: vm.connection,
    driver: "qemu",
    onBroken: (cause) => {
      broken = sandboxFailed("qemu", `the guest broke the protocol: ${cause.message}`, cause);
      void vm.kill();
    },
  });
  return {
    vm,
    channel,
    group,
    holdCpu: async (cpuMillis, behind) => await group?.holdCpu(cpuMillis + qemuCpuMillis, behind),
    broken: () => broken,
    remove: async () => {
      channel.close();
      await vm.kill();
      await group?.remove();
    },
  };
}

async function used<T>(
  guest: Guest,
  stop: AbortSignal,
  use: (guest: Guest, stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const { channel, vm } = guest;
  const early = Promise.withResolvers<never>();
  early.promise.catch(() => {});
  let done = false;
  vm.ended.then((words) => {
    if (!done) early.reject(guest.broken() ?? new Error(words));
    channel.fail(sandboxFailed("qemu", "the virtual machine is gone", new Error(words)));
  });
  const onStop = () => early.reject(new Error("it was stopped"));
  stop.addEventListener("abort", onStop, { once: true });
  // It may have come while the machine was started.
  if (stop.aborted) onStop();
  try {
    return await Promise.race([use(guest, stop), early.promise]);
  } catch (error: unknown) {
    // What the machine said last tells more than that its port closed.
    await vm.kill();
    const words = await vm.ended;
    if (error instanceof DevmeshError && error.reason !== "SANDBOX_FAILED") throw error;
    throw endedEarly(words, error);
  } finally {
    done = true;
    stop.removeEventListener("abort", onStop);
  }
}

const lastWordsLength = 300;

/** QEMU's own last line, which says why it gave up; what the guest wrote is for the log. */
function withLastWords(message: string, words: string): string {
  const line = words.split("\n").findLast((each) => /^\S*qemu\S*: /i.test(each));
  if (line === undefined || message.includes(line)) return message;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them belongs into a message.
  const plain = line.replace(/[\x00-\x1f\x7f]+/g, " ").trim();
  return `${message}: ${plain.slice(0, lastWordsLength)}`;
}

/**
 * What is known of a machine that ended too early. Its last words can be a whole stack trace: but
 * for QEMU's own line they are for the log.
 */
function endedEarly(words: string, error: unknown): DevmeshError {
  const known = error instanceof DevmeshError ? error.message : undefined;
  const message = withLastWords(known ?? "the virtual machine ended while it started", words);
  return sandboxFailed("qemu", message, new Error(words, { cause: error }));
}
