/**
 * Owns the form of the folder that guests boot from. Building one is left to
 * `deploy/guest/build.ts`.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Grows with every change of the folder's form or of the agent's protocol. */
export const guestVersion = 2;

/** The names of the files in a guest's folder. */
export const guestFiles = {
  kernel: "vmlinux",
  initramfs: "initramfs.cpio",
  root: "root.ext4",
  manifest: "guest.json",
} as const;

/** What `guest.json` says. */
export interface GuestManifest {
  readonly version: number;
  /** Changes with the kernel, the drivers, the init script or the agent. */
  readonly bootDigest: string;
  /** Changes with the root file system. */
  readonly rootDigest: string;
}

/** The manifest in `folder`, or `undefined` when there is none that this version understands. */
export async function readGuestManifest(folder: string): Promise<GuestManifest | undefined> {
  const path = join(folder, guestFiles.manifest);
  if (!existsSync(path)) return undefined;
  const manifest: GuestManifest = JSON.parse(await readFile(path, "utf8"));
  return manifest.version === guestVersion ? manifest : undefined;
}
