/**
 * Owns starting and ending QEMU: the one place that knows its command line. Every file that
 * QEMU needs is opened here and handed over, so its user needs access to no folder.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import { Duplex, type Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { sandboxFailed } from "../driver-errors.ts";
import type { Launcher } from "./launcher.ts";
import { Qmp, wordOf } from "./qmp.ts";

/** What runs the guest's instructions: the host's processor, or software. */
export type Accelerator = "kvm" | "tcg";

/** A disk of a virtual machine. */
export interface VmDisk {
  /** By which the guest finds it. At most 20 characters. */
  readonly serial: string;
  /** Opened for reading; QEMU opens for writing only when it is about to write. */
  readonly source: FileHandle;
  /** The same, opened for reading and writing. Absent: the disk is read-only. */
  readonly target?: FileHandle;
}

/** What a virtual machine begins with. */
export type VmStart =
  | {
      readonly kind: "boot";
      readonly kernel: FileHandle;
      readonly initramfs: FileHandle;
      /** Where `saveState` writes to; anybody who has it open may. */
      readonly state: FileHandle;
    }
  /** `state` was written by `saveState` of a machine of the same form; read from its beginning. */
  | { readonly kind: "restore"; readonly state: FileHandle };

/** What a virtual machine shall be. */
export interface VmSpec {
  /** In the command line as `guest=<id>`, by which a leftover is known. */
  readonly id: string;
  readonly binary: string;
  readonly launcher: Launcher;
  readonly accelerator: Accelerator;
  /** The group of `/dev/kvm`, when QEMU's user needs it to open it. */
  readonly kvmGroup?: number | undefined;
  readonly cpus: number;
  readonly memoryMib: number;
  /** The guest's memory; QEMU's user may open it for reading and writing. */
  readonly memory: FileHandle;
  readonly start: VmStart;
  /** The root disk and all others. */
  readonly disks: readonly VmDisk[];
}

/** A virtual machine that runs. */
export interface VirtualMachine {
  /** Of QEMU's process. */
  readonly pid: number;
  /** The connection to the agent's port. */
  readonly connection: Duplex;
  readonly monitor: Qmp;
  /** Resolves with the last words of guest and QEMU when the machine has ended. */
  readonly ended: Promise<string>;
  /** Makes it stand still: its clock stops, and it uses no processor. Idempotent. */
  halt(): Promise<void>;
  /** Lets one that stands still go on. */
  goOn(): Promise<void>;
  /** Ends it at once, also while it stands still; resolves when its process is gone. */
  kill(): Promise<void>;
}

/** How many disks of `VmSpec.disks` a machine takes; its bus has 32 slots. */
export const maxDisks = 24;

const consoleBytes = 8_192;
const lastWordsMs = 200;
const firstFile = 5;
const stateFd = 5;
/**
 * The plain PC, without what can be left out. ACPI stays: by it a distribution's kernel finds
 * its processors and a clock that keeps time without a tick. The smaller `microvm` has no
 * such clock under software emulation.
 */
const machineType = "pc,hpet=off,smbus=off,usb=off,vmport=off,i8042=off,memory-backend=ram";
/** QEMU's store of translated code; its default grows to a gigabyte. */
const translationMib = 128;
const noHarm = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/** A machine that shall be saved runs no job, and saves itself by a program. */
const maySave = "on,obsolete=deny,elevateprivileges=deny,resourcecontrol=deny";
/** Memory that is mapped from a file is not part of a saved state. */
const mappedMemory = { capabilities: [{ capability: "x-ignore-shared", state: true }] };
const savePollMs = 5;

/**
 * The guest kernel's command line. What is left out of the start is what an emulated
 * processor is slow at: self-tests, key loading, tracing; and what a busy host makes wrong:
 * measuring the timer and the processor's counter. Waits inside of the kernel are cut short.
 * Memory is promised as a host promises it, so that too much of it is ended by the cap.
 */
const kernelLine = [
  "no_timer_check tsc=unstable rcupdate.rcu_expedited=1",
  "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests",
  "initcall_blacklist=init_blk_tracer,load_system_certificate_list",
  "sysctl.vm.overcommit_memory=1",
].join(" ");
/**
 * Besides, where the processor is emulated. Code is translated once for each address that it
 * lies at, so programs that lie elsewhere each time are translated each time. What holds up
 * a real processor's guesses is only slow on one that makes none.
 */
const emulatedLine = `${kernelLine} norandmaps mitigations=off`;

/** Starts a virtual machine. Throws SANDBOX_FAILED when QEMU cannot be started. */
export async function startVm(spec: VmSpec): Promise<VirtualMachine> {
  const files = new Files();
  const own = arguments_(spec, files);
  const [file = "", ...args] = [...spec.launcher.prefix(spec.kvmGroup), spec.binary, ...own];
  try {
    const child = spawn(file, args, {
      cwd: "/",
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      // Its own session: an interrupt at the terminal is for us to act on, in order.
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", ...files.list],
    });
    await once(child, "spawn");
    return machineOf(child);
  } catch (error: unknown) {
    throw sandboxFailed("qemu", "QEMU cannot be started", error);
  }
}

/**
 * Saves the state of a machine that has booted; its memory is in its file. It is at an end
 * then. Throws SANDBOX_FAILED when it cannot be saved, for example on a full disk.
 */
export async function saveState({ monitor }: VirtualMachine, signal: AbortSignal): Promise<void> {
  await monitor.execute("migrate-set-capabilities", mappedMemory);
  await monitor.execute("migrate", { uri: `exec:cat >/proc/$PPID/fd/${stateFd}` });
  for (;;) {
    signal.throwIfAborted();
    const answer = await monitor.execute("query-migrate");
    const status = wordOf(answer, "status");
    if (status === "completed") return;
    if (status === "failed" || status === "cancelled") {
      throw sandboxFailed("qemu", `QEMU cannot save a guest: ${wordOf(answer, "error-desc")}`);
    }
    await delay(savePollMs);
  }
}

/** Files for the child, numbered as it will see them. */
class Files {
  readonly list: number[] = [];

  add(file: FileHandle): number {
    this.list.push(file.fd);
    return firstFile + this.list.length - 1;
  }
}

/** File descriptors: 3 the agent's port, 4 the monitor, 5 the state, from 6 on all else. */
function arguments_(spec: VmSpec, files: Files): string[] {
  const { accelerator, cpus, memoryMib, memory, start } = spec;
  const tcg = `tcg,tb-size=${translationMib},thread=${cpus > 1 ? "multi" : "single"}`;
  files.add(start.state);
  // Mapped privately, a file keeps what it holds whatever the guest writes.
  const share = start.kind === "boot" ? "on" : "off";
  const ram = `size=${memoryMib}M,mem-path=/dev/fd/${files.add(memory)},share=${share}`;
  const sandbox = start.kind === "boot" ? maySave : noHarm;
  return [
    ["-name", `guest=${spec.id}`],
    ["-M", machineType],
    accelerator === "kvm" ? ["-accel", "kvm", "-cpu", "host"] : ["-accel", tcg, "-cpu", "max"],
    ["-smp", String(cpus), "-m", String(memoryMib)],
    ["-object", `memory-backend-file,id=ram,${ram}`],
    ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    process.platform === "linux" ? ["-sandbox", sandbox] : [],
    startArguments(spec, files),
    ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ["-device", "virtio-serial-pci-non-transitional,max_ports=2"],
    ["-chardev", "socket,id=agent,fd=3"],
    ["-device", "virtserialport,chardev=agent,name=devmesh,nr=1"],
    ["-chardev", "socket,id=monitor,fd=4", "-mon", "chardev=monitor,mode=control"],
    ...spec.disks.map((disk, index) =>
      diskArguments(
        index,
        disk.serial,
        handlesOf(disk).map((handle) => files.add(handle)),
      ),
    ),
  ].flat();
}

function startArguments({ start, accelerator }: VmSpec, files: Files): string[] {
  if (start.kind === "restore") return ["-incoming", "defer"];
  const paths = [start.kernel, start.initramfs].map((file) => `/dev/fd/${files.add(file)}`);
  const line = accelerator === "kvm" ? kernelLine : emulatedLine;
  return ["-kernel", paths[0] ?? "", "-initrd", paths[1] ?? "", "-append", line];
}

/** Lets a machine of kind `restore` go on where the saved one stood. */
export async function restoreState({ monitor }: VirtualMachine): Promise<void> {
  await Promise.all([
    monitor.execute("migrate-set-capabilities", mappedMemory),
    monitor.execute("migrate-incoming", { uri: `fd:${stateFd}` }),
  ]);
}

function handlesOf({ source, target }: VmDisk): FileHandle[] {
  return target ? [source, target] : [source];
}

function diskArguments(index: number, serial: string, fds: number[]): string[] {
  const access = fds.length > 1 ? "cache=unsafe,discard=unmap,detect-zeroes=unmap" : "readonly=on";
  const file = `format=raw,file=/dev/fdset/${index},file.locking=off`;
  return [
    ...fds.flatMap((fd) => ["-add-fd", `fd=${fd},set=${index}`]),
    ...["-drive", `if=none,id=disk${index},${file},${access}`],
    ...["-device", `virtio-blk-pci-non-transitional,drive=disk${index},serial=${serial}`],
  ];
}

function machineOf(child: ChildProcess): VirtualMachine {
  const [, , , connection, monitor] = child.stdio;
  const { pid } = child;
  if (!(connection instanceof Duplex) || !(monitor instanceof Duplex) || pid === undefined) {
    throw new Error("QEMU's port is not connected");
  }
  const qmp = new Qmp(monitor);
  const words = [tail(child.stdout), tail(child.stderr)];
  const ended = new Promise<string>((resolve) => {
    child.once("exit", async () => {
      // What it said last may come after its end; whoever else holds its output is not waited for.
      const read = [child.stdout, child.stderr].map((stream) => stream && finished(stream));
      await Promise.race([Promise.allSettled(read), delay(lastWordsMs)]);
      const said = words.map((word) => word().trim());
      resolve(said.join("\n").trim());
    });
  });
  return {
    pid,
    connection,
    monitor: qmp,
    ended,
    async halt() {
      // Would not be answered by one that stands still.
      child.kill("SIGCONT");
      await qmp.execute("stop");
      // A machine that is stopped may still look at its timers some thousand times a second.
      child.kill("SIGSTOP");
    },
    async goOn() {
      child.kill("SIGCONT");
      await qmp.execute("cont");
    },
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Reads a stream to its end and keeps the last part of it. */
function tail(stream: Readable | null): () => string {
  let kept = Buffer.alloc(0);
  stream?.on("data", (bytes: Buffer) => {
    kept = Buffer.concat([kept, bytes]).subarray(-consoleBytes);
  });
  return () => kept.toString("utf8");
}
