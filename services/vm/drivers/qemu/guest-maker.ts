/**
 * Owns what guests are made of: disks that are opened, the snapshot of their shape, a guest
 * that goes on from there. What becomes of it is left to its users.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { SandboxSpec } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { mountImage } from "../guest/disk-images.ts";
import type { GuestFacts } from "../guest/guest-facts.ts";
import { type GuestManifest, guestFiles } from "../guest/guest-image.ts";
import { makeVmFolder } from "../guest/vm-folder.ts";
import type { Guest, GuestSetting } from "./boot.ts";
import { restoreGuest } from "./restore.ts";
import { type OpenMount, type SnapshotShape, shapeOf } from "./snapshot-shape.ts";
import { SnapshotStore, type TemplateFiles } from "./snapshot-store.ts";
import { makeTemplate } from "./template.ts";

/** What guests are made with: how QEMU is started, and what it boots. */
export interface Ground {
  readonly setting: GuestSetting;
  readonly manifest: GuestManifest;
}

/** What decides a guest's parts. */
export type GuestNeeds = Pick<SandboxSpec, "limits" | "mounts">;

/** What a guest is made of, its disks open. */
export interface GuestParts {
  readonly shape: SnapshotShape;
  readonly root: FileHandle;
  readonly mounts: readonly OpenMount[];
}

/** How one guest is started. */
export interface GuestStart {
  /** Names QEMU and its group on the host. */
  readonly id: string;
  /** Its own on the host. */
  readonly folder: string;
  /** QEMU's share of a processor in thousandths. */
  readonly cpuMillis: number;
  /** How long it may take until it is used. Default: one minute. */
  readonly limitMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What guests are made in. */
export interface GuestMakerOptions {
  /** Where images of mounts and snapshots lie. */
  readonly stateDir: string;
  /** Where each guest has its folder. */
  readonly vmsDir: string;
  /** False: guests get copies of a snapshot's memory instead of sharing it. */
  readonly sealedMemory: boolean;
}

/** How ids of guests begin that are no sandboxes: tried out, saved, kept ready. */
export const internalPrefix = "own_";

/** Makes guests on one host. */
export class GuestMaker {
  readonly #options: GuestMakerOptions;
  readonly #snapshots: SnapshotStore;

  constructor(options: GuestMakerOptions) {
    this.#options = options;
    const folder = join(options.stateDir, "snapshots");
    this.#snapshots = new SnapshotStore({ folder, sealed: options.sealedMemory });
  }

  /** Calls `use` with the parts of a guest. Throws SANDBOX_FAILED where one cannot be had. */
  async withParts<T>(
    { setting, manifest }: Ground,
    { limits, mounts }: GuestNeeds,
    use: (parts: GuestParts) => Promise<T>,
  ): Promise<T> {
    const opened: FileHandle[] = [];
    try {
      const root = await open(join(setting.guestDir, guestFiles.root));
      opened.push(root);
      const images = await this.#openMounts(mounts, opened);
      const shape = await shapeOf(setting, manifest.bootDigest, limits, root, images);
      return await use({ shape, root, mounts: images });
    } finally {
      await Promise.all(opened.map((file) => file.close()));
    }
  }

  /**
   * Lets a guest go on from the snapshot of its shape, which is made if there is none, and
   * answers what `use` made of it. Throws SANDBOX_FAILED, CANCELLED or what `use` throws;
   * nothing runs then.
   */
  async restored<T>(
    setting: GuestSetting,
    parts: GuestParts,
    start: GuestStart,
    use: (guest: Guest, facts: GuestFacts) => Promise<T>,
    onSnapshot?: () => void,
  ): Promise<T> {
    const make = (files: TemplateFiles, stop: AbortSignal) =>
      this.#template(setting, { ...parts, ...files }, stop);
    return await this.#snapshots.with(parts.shape, make, start.signal, async (snapshot) => {
      onSnapshot?.();
      const options = { setting, snapshot, ...parts, ...start };
      return await restoreGuest(options, (guest) => use(guest, snapshot.facts));
    });
  }

  /**
   * As `restored`; when that fails with a snapshot in hand, the snapshot may be what is wrong:
   * once more, with one made anew, after `onDiscard`.
   */
  async restoredForSure<T>(
    setting: GuestSetting,
    parts: GuestParts,
    start: GuestStart,
    use: (guest: Guest, facts: GuestFacts) => Promise<T>,
    onDiscard: () => void,
  ): Promise<T> {
    let hadSnapshot = false;
    const onSnapshot = () => {
      hadSnapshot = true;
    };
    try {
      return await this.restored(setting, parts, start, use, onSnapshot);
    } catch (error: unknown) {
      const isFailed = error instanceof DevmeshError && error.reason === "SANDBOX_FAILED";
      if (!isFailed || !hadSnapshot) throw error;
      onDiscard();
      await this.#snapshots.discard(parts.shape);
      return await this.restored(setting, parts, start, use);
    }
  }

  /** A folder for a guest that is no sandbox, and the id that names it. */
  async internalFolder(): Promise<{ readonly id: string; readonly folder: string }> {
    const id = `${internalPrefix}${randomBytes(8).toString("hex")}`;
    return { id, folder: await makeVmFolder(this.#options.vmsDir, id) };
  }

  /** Gives back the memory of snapshots that no guest is being made from. */
  async close(): Promise<void> {
    await this.#snapshots.close();
  }

  async #template(setting: GuestSetting, parts: TemplateFiles & GuestParts, signal: AbortSignal) {
    const { id, folder } = await this.internalFolder();
    const remove = () => rm(folder, { recursive: true, force: true });
    try {
      return { ...(await makeTemplate({ ...parts, setting, id, folder, signal })), remove };
    } catch (error: unknown) {
      await remove();
      throw error;
    }
  }

  async #openMounts(
    mounts: GuestNeeds["mounts"],
    opened: FileHandle[],
  ): Promise<readonly OpenMount[]> {
    const folder = join(this.#options.stateDir, "mounts");
    const images = mounts.map(async ({ hostPath, sandboxPath }, index) => {
      const { path, kind } = await mountImage(folder, hostPath);
      const image = await open(path);
      opened.push(image);
      return { serial: `mount${index}`, sandboxPath, kind, image };
    });
    return await Promise.all(images).catch(async (error: unknown) => {
      await Promise.allSettled(images);
      throw sandboxFailed("qemu", "the image of a mount cannot be made", error);
    });
  }
}
