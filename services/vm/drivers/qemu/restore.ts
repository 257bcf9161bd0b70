/**
 * Owns the way from a snapshot to a guest of one job: started where the snapshot stood, told
 * who it is, what time it is and what it may use. The snapshot is left to `snapshot-store.ts`,
 * guests that wait between the two steps to `warm-guests.ts`.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { SandboxLimits, SandboxSpec } from "../driver.ts";
import { type GuestCaps, readCaps } from "../guest/guest-facts.ts";
import { clockLimitMs, clockSetting, identitySettings, setClock } from "../guest/guest-talk.ts";
import type { ResidentChannel } from "../resident/channel.ts";
import { type Guest, type GuestSetting, withGuest } from "./boot.ts";
import { disksOf, type OpenMount, type SnapshotShape } from "./snapshot-shape.ts";
import type { Snapshot } from "./snapshot-store.ts";
import { restoreState } from "./vm-process.ts";

/** What is restored, and as what. */
export interface RestoreOptions {
  readonly setting: GuestSetting;
  /** Names QEMU and its group on the host. */
  readonly id: string;
  /** Its own on the host; disks are made in it. */
  readonly folder: string;
  readonly shape: SnapshotShape;
  readonly snapshot: Snapshot;
  readonly root: FileHandle;
  readonly mounts: readonly OpenMount[];
  /** QEMU's share of a processor in thousandths. */
  readonly cpuMillis: number;
  /** How long it may take until `use` is done. Default: one minute. */
  readonly limitMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What makes a guest one job's. */
export type GuestJob = Pick<SandboxSpec, "id" | "limits" | "doors">;

const mib = 1 << 20;
/** Many times what it takes on an idle host. */
const restoreLimitMs = 60_000;

/**
 * Starts a guest where its snapshot stood, and answers what `use` made of it. Throws
 * SANDBOX_FAILED, CANCELLED or what `use` throws; nothing runs and no disk is left then.
 */
export async function restoreGuest<T>(
  options: RestoreOptions,
  use: (guest: Guest) => Promise<T>,
): Promise<T> {
  const { setting, id, folder, shape, snapshot, root, mounts, cpuMillis, signal } = options;
  const { limitMs = restoreLimitMs } = options;
  const opened: FileHandle[] = [];
  try {
    const memory = await snapshot.openMemory(folder);
    opened.push(memory);
    const state = await snapshot.openState();
    opened.push(state);
    const scratch = await scratchOf(folder, snapshot);
    opened.push(scratch.source, scratch.target);
    return await withGuest(
      {
        setting,
        machine: {
          id,
          cpus: shape.cpus,
          memoryMib: shape.memoryMib,
          memory,
          start: { kind: "restore", state },
          disks: disksOf(root, mounts, scratch),
        },
        cpuMillis,
        limitMs,
        signal,
      },
      async (guest) => {
        const goesOn = guest.vm.monitor.event("RESUME");
        await restoreState(guest.vm);
        await goesOn;
        return await use(guest);
      },
    );
  } finally {
    // QEMU has its own by now.
    await Promise.all(opened.map((file) => file.close()));
  }
}

/** Makes a guest that runs the job's, and answers what its kernel holds it to then. */
export async function assignGuest(channel: ResidentChannel, job: GuestJob): Promise<GuestCaps> {
  // Sent in one go: each turn in the guest costs more than what it does.
  const [, , caps] = await Promise.all([
    introduce(channel, job.id, job.limits),
    channel.openDoors(job.doors),
    readCaps(channel),
  ]);
  return caps;
}

/** Without a name from the start: its space is free as soon as its guest is gone. */
async function scratchOf(folder: string, snapshot: Snapshot) {
  const path = join(folder, "scratch.ext4");
  const target = await open(path, "wx+", 0o600);
  let source: FileHandle | undefined;
  try {
    source = await open(path);
    await snapshot.writeScratch(target);
    return { source, target };
  } catch (error: unknown) {
    await source?.close();
    await target.close();
    throw error;
  } finally {
    await rm(path, { force: true });
  }
}

/** What tells guests of the same snapshot apart, and what this one may use. */
async function introduce(channel: ResidentChannel, id: string, limits: SandboxLimits) {
  const began = performance.now();
  await channel.configure([
    ...identitySettings(id),
    ["limits", limits.memoryMib * mib, limits.pids, limits.cpuMillis * 100],
    clockSetting(),
  ]);
  if (performance.now() - began > clockLimitMs) await setClock(channel);
}
