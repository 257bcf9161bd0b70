/**
 * Owns the `qemu` driver: one throw-away virtual machine per sandbox. What a guest boots
 * from is built by `deploy/guest/build.ts`.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import { findCgroups } from "../cgroup.ts";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { failedProbe, sandboxFailed, vmUnavailable as unavailable } from "../driver-errors.ts";
import { hasMkfs } from "../guest/disk-images.ts";
import type { GuestFacts } from "../guest/guest-facts.ts";
import { type GuestManifest, guestFiles, readGuestManifest } from "../guest/guest-image.ts";
import { makeVmFolder, reapVmFolders } from "../guest/vm-folder.ts";
import { checkVmLimits, qemuMaxCpus } from "../guest/vm-limits.ts";
import { requireReceipt } from "../receipt-check.ts";
import { type Cage, ResidentSandbox } from "../resident/resident-sandbox.ts";
import { runTool } from "../run-tool.ts";
import { checkDoors, checkMounts, checkSpec, isOfOneJob } from "../spec-check.ts";
import { type AcceleratorChoice, chooseAccelerator } from "./accelerator.ts";
import type { Guest } from "./boot.ts";
import { type Ground, GuestMaker, type GuestParts, internalPrefix } from "./guest-maker.ts";
import { findLauncher } from "./launcher.ts";
import { engineOf, qemuCage } from "./qemu-cage.ts";
import { assignGuest } from "./restore.ts";
import { type Accelerator, maxDisks } from "./vm-process.ts";
import { type WarmGuest, WarmGuests } from "./warm-guests.ts";

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
  /** How many guests are kept ready for each shape that was asked for. Default: 0. */
  readonly warm?: number;
  /** How many are kept ready of all shapes together. Default: 4. */
  readonly warmTotal?: number;
  /** How much memory they may have together. Default: a quarter of the host's. */
  readonly warmMemoryMib?: number;
  /** How long one is kept ready, in milliseconds. Default: ten minutes. */
  readonly warmKeepMs?: number;
  /** Milliseconds since 1970. Default: the system's clock. */
  readonly now?: () => number;
}

const defaultBootLimitMs = 180_000;
/** A guest under KVM boots in less than one second; one that hangs does so for good. */
const kvmLimitMs = 8_000;
const versionLimitMs = 10_000;
const probeLimits = { memoryMib: 128, cpuMillis: 1000, pids: 16, diskMib: 16 };

/** Virtual machines by QEMU. */
export class QemuDriver implements SandboxDriver {
  readonly name = "qemu";
  readonly isolation = "vm";
  readonly #options: QemuDriverOptions;
  readonly #binary: string;
  readonly #vmsDir: string;
  readonly #maker: GuestMaker;
  readonly #warm: WarmGuests;
  readonly #sandboxes = new Map<string, Sandbox>();
  #ground: Promise<Ground> | undefined;

  constructor(options: QemuDriverOptions) {
    this.#options = options;
    this.#binary = options.binary ?? "qemu-system-x86_64";
    this.#vmsDir = join(options.stateDir, "vms");
    const { stateDir, sealedMemory = true } = options;
    this.#maker = new GuestMaker({ stateDir, vmsDir: this.#vmsDir, sealedMemory });
    this.#warm = new WarmGuests({
      maker: this.#maker,
      perShape: options.warm ?? 0,
      total: options.warmTotal,
      memoryMib: options.warmMemoryMib,
      keepMs: options.warmKeepMs,
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
    const ground = await this.#findGround();
    const cage = await this.#warm.creation(() =>
      this.#cage(ground, spec, !isOfOneJob(spec), signal),
    );
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
    return ids.filter((id) => !id.startsWith(internalPrefix));
  }

  /** Resolves when all guests that shall be ready are, and all that shall go are gone. */
  settled(): Promise<void> {
    return this.#warm.settled();
  }

  /** Ends what is kept ready, and gives back the memory of snapshots. */
  async close(): Promise<void> {
    await this.#warm.close();
    await this.#maker.close();
  }

  /** A guest that is what was asked for; nothing is left of it when this throws. */
  async #cage(ground: Ground, spec: SandboxSpec, isKept: boolean, signal?: AbortSignal) {
    const folder = await makeVmFolder(this.#vmsDir, spec.id).catch((error: unknown) => {
      throw failed(`the folder of ${spec.id} cannot be made`, error);
    });
    try {
      return await this.#maker.withParts(ground, spec, async (parts) => {
        const mayTake = isKept && !signal?.aborted;
        const ready = mayTake ? await this.#warm.take(ground, spec, parts) : undefined;
        const cage = ready && (await this.#warmCage(ground, spec, ready, folder, signal));
        return cage ?? (await this.#newCage(ground, spec, parts, folder, signal));
      });
    } catch (error: unknown) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** A guest that was kept ready. `undefined`: it is of no use, and is gone. */
  async #warmCage(
    { setting }: Ground,
    spec: SandboxSpec,
    ready: WarmGuest,
    folder: string,
    signal?: AbortSignal,
  ): Promise<Cage | undefined> {
    const { guest, facts } = ready;
    try {
      const caps = await this.#warm.assign(ready, spec, signal);
      const cage = await qemuCage({ setting, guest, facts, caps, folders: [ready.folder, folder] });
      requireReceipt(spec, cage.receipt);
      return cage;
    } catch (error: unknown) {
      await this.#warm.drop(ready);
      if (error instanceof DevmeshError && error.reason === "SANDBOX_FAILED") return undefined;
      throw error;
    }
  }

  /** A guest that goes on from its snapshot now. */
  async #newCage(
    { setting }: Ground,
    spec: SandboxSpec,
    parts: GuestParts,
    folder: string,
    signal?: AbortSignal,
  ): Promise<Cage> {
    const start = { id: spec.id, folder, cpuMillis: spec.limits.cpuMillis, signal };
    const use = async (guest: Guest, facts: GuestFacts) => {
      const caps = await assignGuest(guest.channel, spec);
      const cage = await qemuCage({ setting, guest, facts, caps, folders: [folder] });
      requireReceipt(spec, cage.receipt);
      return cage;
    };
    const onDiscard = () => this.#warm.forget(parts.shape);
    return await this.#maker.restoredForSure(setting, parts, start, use, onDiscard);
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
      throw unavailable(`the guest image in ${guestDir} cannot be read`, buildGuest, error);
    });
    if (!manifest) throw unavailable(`there is no guest image in ${guestDir}`, buildGuest);
    for (const name of [guestFiles.kernel, guestFiles.initramfs, guestFiles.root]) {
      const info = await stat(join(guestDir, name)).catch(() => undefined);
      if (!info?.size) throw unavailable(`${name} is missing in ${guestDir}`, buildGuest);
    }
    return manifest;
  }

  async #makeGround(manifest: GuestManifest): Promise<Ground> {
    const {
      stateDir,
      guestDir,
      accelerator = "auto",
      bootLimitMs = defaultBootLimitMs,
    } = this.#options;
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
        const kvm = { ...common, accelerator: "kvm", kvmGroup, bootLimitMs: kvmLimitMs } as const;
        return this.#tryOut({ setting: kvm, manifest });
      },
    });
    return { manifest, setting: { ...common, ...choice } };
  }

  /** Makes the smallest guest and removes it. */
  async #tryOut(ground: Ground, signal?: AbortSignal): Promise<void> {
    const spec = {
      id: `${internalPrefix}${randomBytes(8).toString("hex")}`,
      jobId: "",
      limits: probeLimits,
      mounts: [],
      doors: [],
    };
    const cage = await this.#warm.creation(() => this.#cage(ground, spec, false, signal));
    await cage.remove();
  }

  async #version(): Promise<string> {
    try {
      const stdout = await runTool(this.#binary, ["--version"], { timeoutMs: versionLimitMs });
      return /version (\S+)/.exec(stdout)?.[1] ?? "of unknown version";
    } catch (error: unknown) {
      const remedy = "install QEMU for x86-64 guests (Debian: qemu-system-x86)";
      throw unavailable(`${this.#binary} cannot be run`, remedy, error);
    }
  }
}

const buildGuest = "run `npm run setup -- vm`";

function checkDisks(spec: SandboxSpec): void {
  if (spec.mounts.length > maxDisks - 2) {
    throw failed(`a virtual machine takes ${maxDisks - 2} mounts, not ${spec.mounts.length}`);
  }
}

const failed = (message: string, cause?: unknown) => sandboxFailed("qemu", message, cause);
