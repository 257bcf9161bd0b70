/**
 * Owns where a Firecracker is locked in: the folder that is its whole file system, and the
 * jailer's command line. What runs in it is left to `firecracker-vm.ts`.
 */
import { chown, copyFile, link, mkdir } from "node:fs/promises";
import { basename, join } from "node:path";

/** What a jail shall be. */
export interface JailOptions {
  /** The jailer's program. */
  readonly jailer: string;
  /** Firecracker's program, an absolute path. */
  readonly firecracker: string;
  /** Letters, digits and hyphens only. */
  readonly id: string;
  /** Below which the jailer makes its folders. */
  readonly base: string;
  /** The user and group of nobody else. */
  readonly uid: number;
  readonly cgroupVersion: 1 | 2;
  /** For Firecracker's own process. */
  readonly memoryMib: number;
  readonly cpuMillis: number;
}

const cpuPeriodUs = 100_000;
const maxOpenFiles = 256;
const mib = 1 << 20;

/** The path that is `/` for Firecracker. */
export function jailRoot({ base, firecracker, id }: JailOptions): string {
  return join(base, basename(firecracker), id, "root");
}

/**
 * The jailer's command line: a user, a mount and a pid namespace of its own, an empty
 * network namespace by what it is started in, a cgroup, and an API socket at `/api.sock`.
 */
export function jailerArguments(options: JailOptions): string[] {
  const { firecracker, id, base, uid, cgroupVersion, memoryMib, cpuMillis } = options;
  const quota = Math.round((cpuMillis * cpuPeriodUs) / 1000);
  const bytes = memoryMib * mib;
  const groups =
    cgroupVersion === 2
      ? [`memory.max=${bytes}`, `cpu.max=${quota} ${cpuPeriodUs}`]
      : [
          `memory.limit_in_bytes=${bytes}`,
          `cpu.cfs_period_us=${cpuPeriodUs}`,
          `cpu.cfs_quota_us=${quota}`,
        ];
  return [
    ...["--id", id, "--exec-file", firecracker],
    ...["--uid", String(uid), "--gid", String(uid)],
    ...["--chroot-base-dir", base],
    ...["--cgroup-version", String(cgroupVersion)],
    ...groups.flatMap((value) => ["--cgroup", value]),
    ...["--resource-limit", `no-file=${maxOpenFiles}`],
    "--new-pid-ns",
    "--",
    ...["--api-sock", "/api.sock"],
  ];
}

/** Puts a file into the jail under `name`, readable by its user; linked where that can be. */
export async function putIntoJail(root: string, source: string, name: string): Promise<void> {
  await mkdir(root, { recursive: true, mode: 0o755 });
  const target = join(root, name);
  // Another file system has no links to this one.
  await link(source, target).catch(() => copyFile(source, target));
}

/** Gives a file of the jail to its user. */
export async function giveToJail(root: string, name: string, uid: number): Promise<void> {
  await chown(join(root, name), uid, uid);
}
