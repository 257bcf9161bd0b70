/**
 * Owns the boot of a guest that is saved when it is about to take a job. Where the saved
 * parts go, and what becomes of them, is left to `snapshot-store.ts`.
 */
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { makeScratch } from "../guest/disk-images.ts";
import { type GuestFacts, readFacts } from "../guest/guest-facts.ts";
import { guestFiles } from "../guest/guest-image.ts";
import { runInGuest } from "../guest/guest-talk.ts";
import type { ResidentChannel } from "../resident/channel.ts";
import { type GuestSetting, withGuest } from "./boot.ts";
import { disksOf, type OpenMount, type SnapshotShape } from "./snapshot-shape.ts";
import { saveState } from "./vm-process.ts";

/** What a template is made from. */
export interface TemplateOptions {
  readonly setting: GuestSetting;
  readonly id: string;
  /** Its own on the host; its scratch disk stays in it. */
  readonly folder: string;
  readonly shape: SnapshotShape;
  readonly root: FileHandle;
  readonly mounts: readonly OpenMount[];
  /** Empty, of the shape's size; holds the guest's memory afterwards. */
  readonly memory: FileHandle;
  /** Empty; holds the machine's state afterwards. */
  readonly state: FileHandle;
  readonly signal?: AbortSignal | undefined;
}

/** What a template leaves, beside memory and state. */
export interface Template {
  readonly facts: GuestFacts;
  /** The scratch disk as the guest left it. */
  readonly scratchPath: string;
}

const mib = 1 << 20;

/**
 * Boots a guest of this shape, sets it up as far as all jobs have in common, and saves it.
 * Throws SANDBOX_FAILED or CANCELLED; nothing runs then.
 */
export async function makeTemplate(options: TemplateOptions): Promise<Template> {
  const { setting, id, folder, shape, root, mounts, memory, state, signal } = options;
  const scratchPath = join(folder, "scratch.ext4");
  await makeScratch(scratchPath, shape.diskMib);
  const opened: FileHandle[] = [];
  const opening = async (path: string, flags: "r" | "r+" = "r") => {
    const file = await open(path, flags);
    opened.push(file);
    return file;
  };
  try {
    const kernel = await opening(join(setting.guestDir, guestFiles.kernel));
    const initramfs = await opening(join(setting.guestDir, guestFiles.initramfs));
    const scratch = {
      source: await opening(scratchPath),
      target: await opening(scratchPath, "r+"),
    };
    const { read, guest } = await withGuest(
      {
        setting,
        machine: {
          id,
          cpus: shape.cpus,
          memoryMib: shape.memoryMib,
          memory,
          start: { kind: "boot", kernel, initramfs, state },
          disks: disksOf(root, mounts, scratch),
        },
        cpuMillis: shape.cpus * 1000,
        limitMs: setting.bootLimitMs,
        signal,
      },
      async (guest, stop) => {
        await guest.channel.hello;
        const read = await prepare(guest.channel, shape, mounts);
        await saveState(guest.vm, stop);
        return { read, guest };
      },
    );
    await guest.remove();
    return { facts: read, scratchPath };
  } finally {
    await Promise.all(opened.map((file) => file.close()));
  }
}

/**
 * What all jobs have in common, and every path that a start takes: code and files that have
 * been used once are in the saved memory.
 */
async function prepare(
  channel: ResidentChannel,
  shape: SnapshotShape,
  mounts: readonly OpenMount[],
): Promise<GuestFacts> {
  const now = Math.floor(Date.now() / 1000);
  const tools = mounts.map(
    ({ serial, sandboxPath, kind }) => ["mount", serial, sandboxPath, kind] as const,
  );
  await channel.configure([
    ...tools,
    ["clock", now, 0],
    ["limits", shape.memoryMib * mib, 1000, shape.cpus * 100_000],
  ]);
  const facts = await readFacts((argv) => runInGuest(channel, argv));
  await runInGuest(channel, ["tar", "--version"]);
  // What these used is not the job's.
  await channel.configure([["new-job"]]);
  return facts;
}
