/**
 * Owns the `qemu` driver: one throw-away virtual machine per sandbox. What a guest boots
 * from is built by `deploy/guest/build.ts`.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import { findCgroups } from "../cgroup.ts";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { failedProbe, sandboxFailed, vmUnavailable as unavailable } from "../driver-errors.ts";
import { hasMkfs, mountImage } from "../guest/disk-images.ts";
import { type GuestManifest, guestFiles, readGuestManifest } from "../guest/guest-image.ts";
import { makeVmFolder, reapVmFolders } from "../guest/vm-folder.ts";
import { checkVmLimits, qemuMaxCpus } from "../guest/vm-limits.ts";
import { requireReceipt } from "../receipt-check.ts";
import { type Cage, ResidentSandbox } from "../resident/resident-sandbox.ts";
import { runTool } from "../run-tool.ts";
import { checkDoors, checkMounts, checkSpec } from "../spec-check.ts";
import { type AcceleratorChoice, chooseAccelerator } from "./accelerator.ts";
import type { GuestSetting } from "./boot.ts";
import { findLauncher } from "./launcher.ts";
import { engineOf, qemuCage } from "./qemu-cage.ts";
import { restoreGuest } from "./restore.ts";
import { type OpenMount, type SnapshotShape, shapeOf } from "./snapshot-shape.ts";
import { type Snapshot, SnapshotStore, type TemplateFiles } from "./snapshot-store.ts";
import { makeTemplate } from "./template.ts";
import { type Accelerator, maxDisks } from "./vm-process.ts";

/** What the driver works with. */
export interface QemuDriverOptions {
  /** Where it keeps folders of sandboxes and images of mounts. One per host. */
  readonly stateDir: string;
  /** The folder that `deploy/guest/build.ts` wrote. */
  readonly guestDir: string;
  /** Default: `qemu-system-x86_64` on PATH. */
  readonly binary?: string;
  /** Default: `auto`, KVM where a guest boots under it, software elsewhere. */
  readonly accelerator?: Accelerator | "auto";
  /** How long a boot may take. Default: 180 s; software on a busy host needs its time. */
  readonly bootLimitMs?: number;
  /** False: guests get copies of a snapshot's memory instead of sharing it. Default: true. */
  readonly sealedMemory?: boolean;
  /** Milliseconds since 1970. Default: the system's clock. */
  readonly now?: () => number;
}

const BOOT_LIMIT_MS = 180_000;
/** A guest under KVM boots in less than one second; one that hangs does so for good. */
const KVM_LIMIT_MS = 8_000;
const VERSION_LIMIT_MS = 10_000;
const PROBE_LIMITS = { memoryMib: 128, cpuMillis: 1000, pids: 16, diskMib: 16 };
/** How ids of guests begin that are no sandboxes: tried out, saved. */
const INTERNAL = "own_";

/** What guests are made with: how QEMU is started, and what it boots. */
interface Ground {
  readonly setting: GuestSetting;
  readonly manifest: GuestManifest;
}

/** What a guest is made of, its disks open. */
interface GuestParts {
  readonly shape: SnapshotShape;
  readonly root: FileHandle;
  readonly mounts: readonly OpenMount[];
}

/** Virtual machines by QEMU. */
export class QemuDriver implements SandboxDriver {
  readonly name = "qemu";
  readonly isolation = "vm";
  readonly #options: QemuDriverOptions;
  readonly #binary: string;
  readonly #vmsDir: string;
  readonly #snapshots: SnapshotStore;
  readonly #sandboxes = new Map<string, Sandbox>();
  #ground: Promise<Ground> | undefined;

  constructor(options: QemuDriverOptions) {
    this.#options = options;
    this.#binary = options.binary ?? "qemu-system-x86_64";
    this.#vmsDir = join(options.stateDir, "vms");
    this.#snapshots = new SnapshotStore({
      folder: join(options.stateDir, "snapshots"),
      sealed: options.sealedMemory ?? true,
    });
  }

  async probe(signal?: AbortSignal): Promise<DriverProbe> {
    const base = { driver: this.name, isolation: this.isolation, engine: "" } as const;
    let engine = "";
    try {
      engine = `QEMU ${await this.#version()}`;
      const ground = await this.#findGround();
      engine = engineOf(ground.setting);
      await this.#tryOut(ground, signal);
      return { ...base, available: true, engine, reason: "", remedy: "" };
    } catch (error: unknown) {
      const remedy = "look at the cause in the log; boot the guest by hand";
      return failedProbe({ ...base, engine }, error, remedy);
    }
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    checkSpec(spec);
    checkVmLimits(spec.limits, qemuMaxCpus);
    checkDisks(spec);
    checkMounts(this.name, spec.mounts);
    await checkDoors(this.name, spec.doors);
    const cage = await this.#cage(await this.#findGround(), spec, signal);
    const { id, jobId, limits } = spec;
    const sandbox = new ResidentSandbox({
      id,
      jobId,
      createdAtMs: (this.#options.now ?? Date.now)(),
      cage,
      diskMib: limits.diskMib,
      onDeleted: () => this.#sandboxes.delete(id),
    });
    this.#sandboxes.set(id, sandbox);
    return sandbox;
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  async reap(): Promise<string[]> {
    const cgroups = process.platform === "linux" ? await findCgroups() : undefined;
    const ids = await reapVmFolders(this.#vmsDir, async (id) => cgroups?.open(id).remove());
    return ids.filter((id) => !id.startsWith(INTERNAL));
  }

  /** Gives back the memory of snapshots that no sandbox is being made from. */
  async close(): Promise<void> {
    await this.#snapshots.close();
  }

  /** A guest that is what was asked for; nothing is left of it when this throws. */
  async #cage(ground: Ground, spec: SandboxSpec, signal?: AbortSignal): Promise<Cage> {
    const folder = await makeVmFolder(this.#vmsDir, spec.id).catch((error: unknown) => {
      throw failed(`the folder of ${spec.id} cannot be made`, error);
    });
    const opened: FileHandle[] = [];
    try {
      const root = await open(join(ground.setting.guestDir, guestFiles.root));
      opened.push(root);
      const mounts = await this.#openMounts(spec, opened);
      const { setting, manifest } = ground;
      const shape = await shapeOf(setting, manifest.bootDigest, spec.limits, root, mounts);
      let hadSnapshot = false;
      const parts = { folder, shape, root, mounts, onSnapshot: () => (hadSnapshot = true) };
      const once = () => this.#restored(ground, spec, parts, signal);
      try {
        return await once();
      } catch (error: unknown) {
        const isFailed = error instanceof DevmeshError && error.reason === "SANDBOX_FAILED";
        if (!isFailed || !hadSnapshot) throw error;
        // The snapshot may be what is wrong: once more, with one made anew.
        await this.#snapshots.discard(shape);
        return await once();
      }
    } catch (error: unknown) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    } finally {
      await Promise.all(opened.map((file) => file.close()));
    }
  }

  async #restored(
    { setting }: Ground,
    spec: SandboxSpec,
    parts: GuestParts & { readonly folder: string; readonly onSnapshot: () => void },
    signal?: AbortSignal,
  ): Promise<Cage> {
    const make = (files: TemplateFiles, stop: AbortSignal) =>
      this.#template(setting, { ...parts, ...files }, stop);
    return await this.#snapshots.with(parts.shape, make, signal, async (snapshot: Snapshot) => {
      parts.onSnapshot();
      const restored = await restoreGuest({ setting, snapshot, ...spec, ...parts, signal });
      try {
        const { facts } = snapshot;
        const cage = await qemuCage({ setting, restored, facts, folder: parts.folder });
        requireReceipt(spec, cage.receipt);
        return cage;
      } catch (error: unknown) {
        await restored.guest.remove();
        throw error;
      }
    });
  }

  async #template(setting: GuestSetting, parts: TemplateFiles & GuestParts, signal: AbortSignal) {
    const id = internalId();
    const folder = await makeVmFolder(this.#vmsDir, id);
    const remove = () => rm(folder, { recursive: true, force: true });
    try {
      return { ...(await makeTemplate({ ...parts, setting, id, folder, signal })), remove };
    } catch (error: unknown) {
      await remove();
      throw error;
    }
  }

  async #openMounts({ mounts }: SandboxSpec, opened: FileHandle[]): Promise<OpenMount[]> {
    const folder = join(this.#options.stateDir, "mounts");
    const images = mounts.map(async ({ hostPath, sandboxPath }, index) => {
      const { path, kind } = await mountImage(folder, hostPath);
      const image = await open(path);
      opened.push(image);
      return { serial: `mount${index}`, sandboxPath, kind, image };
    });
    return await Promise.all(images).catch(async (error: unknown) => {
      await Promise.allSettled(images);
      throw failed("the image of a mount cannot be made", error);
    });
  }

  /** Found out once; a failure, and a guest that was built anew, is found out again. */
  async #findGround(): Promise<Ground> {
    const known = await this.#ground?.catch(() => undefined);
    const manifest = await this.#manifest();
    const isSame = known && JSON.stringify(known.manifest) === JSON.stringify(manifest);
    if (!isSame) this.#ground = this.#makeGround(manifest);
    return await (this.#ground ?? this.#makeGround(manifest));
  }

  async #manifest(): Promise<GuestManifest> {
    const { guestDir } = this.#options;
    const manifest = await readGuestManifest(guestDir).catch((error: unknown) => {
      throw unavailable(`the guest image in ${guestDir} cannot be read`, BUILD_GUEST, error);
    });
    if (!manifest) throw unavailable(`there is no guest image in ${guestDir}`, BUILD_GUEST);
    for (const name of [guestFiles.kernel, guestFiles.initramfs, guestFiles.root]) {
      const info = await stat(join(guestDir, name)).catch(() => undefined);
      if (!info?.size) throw unavailable(`${name} is missing in ${guestDir}`, BUILD_GUEST);
    }
    return manifest;
  }

  async #makeGround(manifest: GuestManifest): Promise<Ground> {
    const { stateDir, guestDir, accelerator = "auto", bootLimitMs = BOOT_LIMIT_MS } = this.#options;
    const version = await this.#version();
    if (!(await hasMkfs())) throw unavailable("mkfs.ext4 is not on PATH", "install e2fsprogs");
    const launcher = await findLauncher();
    await mkdir(stateDir, { recursive: true });
    const cgroups = process.platform === "linux" ? await findCgroups() : undefined;
    const common = { binary: this.#binary, version, guestDir, launcher, bootLimitMs, cgroups };
    const choice: AcceleratorChoice = await chooseAccelerator({
      stateDir,
      wanted: accelerator,
      ownUser: launcher.ownUser,
      version: `${version} ${manifest.bootDigest}`,
      tryKvm: (kvmGroup) => {
        const kvm = { ...common, accelerator: "kvm", kvmGroup, bootLimitMs: KVM_LIMIT_MS } as const;
        return this.#tryOut({ setting: kvm, manifest });
      },
    });
    return { manifest, setting: { ...common, ...choice } };
  }

  /** Makes the smallest guest and removes it. */
  async #tryOut(ground: Ground, signal?: AbortSignal): Promise<void> {
    const spec = { id: internalId(), jobId: "", limits: PROBE_LIMITS, mounts: [], doors: [] };
    const cage = await this.#cage(ground, spec, signal);
    await cage.remove();
  }

  async #version(): Promise<string> {
    try {
      const stdout = await runTool(this.#binary, ["--version"], { timeoutMs: VERSION_LIMIT_MS });
      return /version (\S+)/.exec(stdout)?.[1] ?? "of unknown version";
    } catch (error: unknown) {
      const remedy = "install QEMU for x86-64 guests (Debian: qemu-system-x86)";
      throw unavailable(`${this.#binary} cannot be run`, remedy, error);
    }
  }
}

const internalId = () => `${INTERNAL}${randomBytes(8).toString("hex")}`;

const BUILD_GUEST = "run `npm run setup -- vm`";

function checkDisks(spec: SandboxSpec): void {
  if (spec.mounts.length > maxDisks - 2) {
    throw failed(`a virtual machine takes ${maxDisks - 2} mounts, not ${spec.mounts.length}`);
  }
}

const failed = (message: string, cause?: unknown) => sandboxFailed("qemu", message, cause);
