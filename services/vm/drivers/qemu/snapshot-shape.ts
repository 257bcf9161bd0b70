/**
 * Owns what a snapshot depends on: whatever differs here needs a snapshot of its own, and
 * nothing else may be in one. What one job brings comes to its guest after the restore.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { arch, cpus, release } from "node:os";
import type { SandboxLimits } from "../driver.ts";
import type { GuestMount } from "../resident/channel.ts";
import type { GuestSetting } from "./boot.ts";
import type { VmDisk } from "./vm-process.ts";

/** A read-only image for a guest, open. */
export interface OpenMount extends GuestMount {
  readonly image: FileHandle;
}

/** All that a snapshot depends on, as plain data. */
export interface SnapshotShape {
  /** Grows with every change of how snapshots are made. */
  readonly form: 2;
  readonly qemu: string;
  readonly accelerator: string;
  /** The host's processor and kernel. */
  readonly host: string;
  /** Kernel, initramfs and resident. */
  readonly bootDigest: string;
  readonly cpus: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  /** The root and the mounts: by which file, and where it appears. */
  readonly disks: readonly (readonly string[])[];
}

/** What the guest's kernel and agent take, beside what the sandbox may use. */
const overheadMib = 128;
/** Memory comes in steps, so that jobs of about the same size share a snapshot. */
const stepMib = 128;

/** The shape of a sandbox. */
export async function shapeOf(
  setting: GuestSetting,
  bootDigest: string,
  limits: SandboxLimits,
  root: FileHandle,
  mounts: readonly OpenMount[],
): Promise<SnapshotShape> {
  const disks = mounts.map(async ({ image, serial, sandboxPath, kind }) => [
    await identityOf(image),
    serial,
    sandboxPath,
    kind,
  ]);
  return {
    form: 2,
    qemu: setting.version,
    accelerator: setting.accelerator,
    host: [arch(), cpus()[0]?.model ?? "", release()].join(" "),
    bootDigest,
    cpus: Math.max(1, Math.ceil(limits.cpuMillis / 1000)),
    memoryMib: Math.ceil((limits.memoryMib + overheadMib) / stepMib) * stepMib,
    diskMib: limits.diskMib,
    disks: [[await identityOf(root)], ...(await Promise.all(disks))],
  };
}

/** A name for a shape, that fits a folder. */
export function keyOf(shape: SnapshotShape): string {
  return createHash("sha256").update(JSON.stringify(shape)).digest("hex").slice(0, 32);
}

/** The disks of a guest, scratch last. */
export function disksOf(
  root: FileHandle,
  mounts: readonly OpenMount[],
  scratch: { readonly source: FileHandle; readonly target: FileHandle },
): VmDisk[] {
  return [
    { serial: "root", source: root },
    ...mounts.map(({ serial, image }) => ({ serial, source: image })),
    { serial: "scratch", ...scratch },
  ];
}

/** Images are replaced whole, so a file that is the same one has the same content. */
async function identityOf(file: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}
