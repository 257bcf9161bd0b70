/**
 * Owns starting and ending QEMU: the one place that knows its command line. Every file that
 * QEMU needs is opened here and handed over, so its user needs access to no folder.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { Duplex, type Readable } from "node:stream";
import { sandboxFailed } from "../driver-errors.ts";
import { guestFiles } from "./guest-image.ts";
import type { Launcher } from "./launcher.ts";

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
  /** The folder that `deploy/guest/build.ts` wrote. */
  readonly guestDir: string;
  /** Besides the root disk. */
  readonly disks: readonly VmDisk[];
}

/** A virtual machine that runs. */
export interface VirtualMachine {
  /** Of QEMU's process. */
  readonly pid: number;
  /** The connection to the agent's port. */
  readonly connection: Duplex;
  /** Resolves with the last words of guest and QEMU when the machine has ended. */
  readonly ended: Promise<string>;
  /** Ends it at once; resolves when its process is gone. */
  kill(): Promise<void>;
}

/** How many disks of `VmSpec.disks` a machine takes; its bus has 32 slots. */
export const maxDisks = 24;

const CONSOLE_BYTES = 8_192;
/**
 * The plain PC, without all that can be left out. The smaller `microvm` would need ACPI to
 * show its disks to a distribution's kernel, and with ACPI it has no timer that such a
 * kernel finds under software emulation. Without ACPI the guest also starts sooner.
 */
const MACHINE = "pc,acpi=off,hpet=off,smbus=off,usb=off,vmport=off,i8042=off";
/** QEMU's store of translated code; its default grows to a gigabyte. */
const TRANSLATION_MIB = 128;
const NO_HARM = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/**
 * The guest kernel's command line. What is left out of the start is what an emulated
 * processor is slow at: self-tests, key loading, tracing.
 */
const KERNEL_LINE = [
  "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests",
  "initcall_blacklist=init_blk_tracer,load_system_certificate_list",
].join(" ");

/** Starts a virtual machine. Throws SANDBOX_FAILED when QEMU cannot be started. */
export async function startVm(spec: VmSpec): Promise<VirtualMachine> {
  const opened: FileHandle[] = [];
  try {
    for (const name of [guestFiles.kernel, guestFiles.initramfs, guestFiles.root]) {
      opened.push(await open(join(spec.guestDir, name)));
    }
    const disks = spec.disks.flatMap(handlesOf);
    const files = [...opened, ...disks].map(({ fd }) => fd);
    const [file = "", ...args] = [
      ...spec.launcher.prefix(spec.kvmGroup),
      spec.binary,
      ...arguments_(spec),
    ];
    const child = spawn(file, args, {
      cwd: "/",
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      // Its own session: an interrupt at the terminal is for us to act on, in order.
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "pipe", ...files],
    });
    await once(child, "spawn");
    return machineOf(child);
  } catch (error: unknown) {
    throw sandboxFailed("qemu", "QEMU cannot be started", error);
  } finally {
    // The child has its own copies by now.
    await Promise.all(opened.map((file) => file.close()));
  }
}

/** File descriptors: 3 the agent's port, 4 kernel, 5 initramfs, 6 root, from 7 on the disks. */
function arguments_(spec: VmSpec): string[] {
  const { accelerator, cpus, memoryMib } = spec;
  const tcg = `tcg,tb-size=${TRANSLATION_MIB},thread=${cpus > 1 ? "multi" : "single"}`;
  let fd = 6;
  const disks = spec.disks.map((disk, index) => {
    const fds = handlesOf(disk).map(() => ++fd);
    return diskArguments(index + 1, disk.serial, fds);
  });
  return [
    ["-name", `guest=${spec.id}`],
    ["-M", MACHINE],
    accelerator === "kvm" ? ["-accel", "kvm", "-cpu", "host"] : ["-accel", tcg, "-cpu", "max"],
    ["-smp", String(cpus), "-m", String(memoryMib)],
    ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    process.platform === "linux" ? ["-sandbox", NO_HARM] : [],
    ["-kernel", "/dev/fd/4", "-initrd", "/dev/fd/5", "-append", KERNEL_LINE],
    ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ["-device", "virtio-serial-pci-non-transitional,max_ports=2"],
    ["-chardev", "socket,id=agent,fd=3"],
    ["-device", "virtserialport,chardev=agent,name=devmesh,nr=1"],
    diskArguments(0, "root", [6]),
    ...disks,
  ].flat();
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
  const connection = child.stdio[3];
  const { pid } = child;
  if (!(connection instanceof Duplex) || pid === undefined) {
    throw new Error("QEMU's port is not connected");
  }
  const words = [tail(child.stdout), tail(child.stderr)];
  const ended = new Promise<string>((resolve) => {
    child.once("exit", () =>
      resolve(
        words
          .map((word) => word().trim())
          .join("\n")
          .trim(),
      ),
    );
  });
  return {
    pid,
    connection,
    ended,
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
    kept = Buffer.concat([kept, bytes]).subarray(-CONSOLE_BYTES);
  });
  return () => kept.toString("utf8");
}
