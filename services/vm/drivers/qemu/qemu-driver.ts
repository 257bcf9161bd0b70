/**
 * Owns the `qemu` driver: one throw-away virtual machine per sandbox. What a guest boots
 * from is built by `deploy/guest/build.ts`.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { DevmeshError } from "@devmesh/mesh/errors";
import { findCgroups } from "../cgroup.ts";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { type Cage, ResidentSandbox } from "../resident/resident-sandbox.ts";
import { type AcceleratorChoice, chooseAccelerator } from "./accelerator.ts";
import { type BootMount, bootGuest, type Guest, type GuestSetting } from "./boot.ts";
import { hasMkfs, mountImage } from "./disk-images.ts";
import { readGuestManifest } from "./guest-image.ts";
import { findLauncher } from "./launcher.ts";
import { makeVmFolder, reapVmFolders } from "./vm-folder.ts";
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
  /** How long a boot may take. Default: 60 s; software on a busy host needs its time. */
  readonly bootLimitMs?: number;
  /** Milliseconds since 1970. Default: the system's clock. */
  readonly now?: () => number;
}

const BOOT_LIMIT_MS = 60_000;
/** A guest under KVM boots in less than one second; one that hangs does so for good. */
const KVM_LIMIT_MS = 8_000;
const VERSION_LIMIT_MS = 10_000;
const PROBE_LIMITS = { memoryMib: 64, cpuMillis: 1000, pids: 16, diskMib: 16 };
/** How ids of guests that only try out begin. */
const PROBE = "probe_";
const MOUNT_ROOT = "/opt/devmesh/";

const run = promisify(execFile);

/** Virtual machines by QEMU. */
export class QemuDriver implements SandboxDriver {
  readonly name = "qemu";
  readonly isolation = "vm";
  readonly #options: QemuDriverOptions;
  readonly #binary: string;
  readonly #vmsDir: string;
  readonly #sandboxes = new Map<string, Sandbox>();
  #setting: Promise<GuestSetting> | undefined;

  constructor(options: QemuDriverOptions) {
    this.#options = options;
    this.#binary = options.binary ?? "qemu-system-x86_64";
    this.#vmsDir = join(options.stateDir, "vms");
  }

  async probe(signal?: AbortSignal): Promise<DriverProbe> {
    const base = { driver: this.name, isolation: this.isolation, engine: "" } as const;
    let engine = "";
    try {
      engine = `QEMU ${await this.#version()}`;
      const setting = await this.#settings();
      engine += ` (${setting.accelerator.toUpperCase()})`;
      await this.#tryBoot(setting, signal);
      return { ...base, available: true, engine, reason: "", remedy: "" };
    } catch (error: unknown) {
      const reason = error instanceof Error ? error.message : String(error);
      const known = error instanceof DevmeshError ? error.metadata.remedy : undefined;
      const remedy = known ?? "look at the cause in the log; boot the guest by hand";
      return { ...base, engine, available: false, reason, remedy };
    }
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    checkSpec(spec);
    for (const { socketPath } of spec.doors) await checkSocket(socketPath);
    const setting = await this.#settings();
    const folder = await makeVmFolder(this.#vmsDir, spec.id).catch((error: unknown) => {
      throw failed(`the folder of ${spec.id} cannot be made`, error);
    });
    try {
      const guest = await bootGuest({
        setting,
        id: spec.id,
        folder,
        limits: spec.limits,
        mounts: await this.#mountsOf(spec),
        doors: spec.doors,
        signal,
      });
      const { id, jobId } = spec;
      const sandbox = new ResidentSandbox({
        id,
        jobId,
        createdAtMs: (this.#options.now ?? Date.now)(),
        cage: cageOf(guest, folder),
        diskMib: spec.limits.diskMib,
        onDeleted: () => this.#sandboxes.delete(id),
      });
      this.#sandboxes.set(id, sandbox);
      return sandbox;
    } catch (error: unknown) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  async reap(): Promise<string[]> {
    const cgroups = process.platform === "linux" ? await findCgroups() : undefined;
    const ids = await reapVmFolders(this.#vmsDir, async (id) => cgroups?.open(id).remove());
    return ids.filter((id) => !id.startsWith(PROBE));
  }

  async #mountsOf({ mounts }: SandboxSpec): Promise<BootMount[]> {
    const folder = join(this.#options.stateDir, "mounts");
    const images = mounts.map(async ({ hostPath, sandboxPath }, index) => {
      const { path, kind } = await mountImage(folder, hostPath);
      return { serial: `mount${index}`, sandboxPath, kind, imagePath: path };
    });
    return await Promise.all(images).catch((error: unknown) => {
      throw failed("the image of a mount cannot be made", error);
    });
  }

  /** Found out once; a failure is found out again by the next call. */
  #settings(): Promise<GuestSetting> {
    this.#setting ??= this.#findSettings().catch((error: unknown) => {
      this.#setting = undefined;
      throw error;
    });
    return this.#setting;
  }

  async #findSettings(): Promise<GuestSetting> {
    const { stateDir, guestDir, accelerator = "auto", bootLimitMs = BOOT_LIMIT_MS } = this.#options;
    const version = await this.#version();
    const manifest = await readGuestManifest(guestDir);
    if (!manifest) throw unavailable(`there is no guest image in ${guestDir}`, BUILD_GUEST);
    if (!(await hasMkfs())) throw unavailable("mkfs.ext4 is not on PATH", "install e2fsprogs");
    const launcher = await findLauncher();
    await mkdir(stateDir, { recursive: true });
    const cgroups = process.platform === "linux" ? await findCgroups() : undefined;
    const common = { binary: this.#binary, guestDir, launcher, bootLimitMs, cgroups };
    const choice: AcceleratorChoice = await chooseAccelerator({
      stateDir,
      wanted: accelerator,
      ownUser: launcher.ownUser,
      version: `${version} ${manifest.bootDigest}`,
      tryKvm: (kvmGroup) =>
        this.#tryBoot({ ...common, accelerator: "kvm", kvmGroup, bootLimitMs: KVM_LIMIT_MS }),
    });
    return { ...common, ...choice };
  }

  /** Boots the smallest guest and removes it. */
  async #tryBoot(setting: GuestSetting, signal?: AbortSignal): Promise<void> {
    const id = `${PROBE}${randomBytes(8).toString("hex")}`;
    const folder = await makeVmFolder(this.#vmsDir, id);
    try {
      const boot = { setting, id, folder, limits: PROBE_LIMITS, mounts: [], doors: [], signal };
      await (await bootGuest(boot)).remove();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #version(): Promise<string> {
    try {
      const { stdout } = await run(this.#binary, ["--version"], { timeout: VERSION_LIMIT_MS });
      return /version (\S+)/.exec(stdout)?.[1] ?? "of unknown version";
    } catch (error: unknown) {
      const remedy = "install QEMU for x86-64 guests (Debian: qemu-system-x86)";
      throw unavailable(`${this.#binary} cannot be run`, remedy, error);
    }
  }
}

function cageOf(guest: Guest, folder: string): Cage {
  return {
    driver: "qemu",
    channel: guest.channel,
    async remove() {
      await guest.remove();
      await rm(folder, { recursive: true, force: true });
    },
    get receipt(): never {
      throw failed("receipts are not built");
    },
    stats: () => Promise.reject(failed("stats are not built")),
    freeze: () => Promise.reject(failed("freezing is not built")),
    resume: () => Promise.reject(failed("freezing is not built")),
  };
}

const BUILD_GUEST = "run `npm run setup -- vm`";

function checkSpec(spec: SandboxSpec): void {
  if (!/^[A-Za-z0-9][\w-]*$/.test(spec.id)) throw failed(`${spec.id} is no sandbox's id`);
  if (spec.mounts.length > maxDisks - 1) {
    throw failed(`a virtual machine takes ${maxDisks - 1} mounts, not ${spec.mounts.length}`);
  }
  for (const { sandboxPath } of spec.mounts) {
    const parts = sandboxPath.slice(MOUNT_ROOT.length).split("/");
    if (sandboxPath.startsWith(MOUNT_ROOT) && !parts.some((part) => /^\.{0,2}$/.test(part)))
      continue;
    throw failed(`the mount ${sandboxPath} is not below ${MOUNT_ROOT}`);
  }
}

async function checkSocket(path: string): Promise<void> {
  const info = await stat(path).catch((error: unknown) => {
    throw failed(`the backend's socket ${path} is not there`, error);
  });
  if (!info.isSocket()) throw failed(`the backend's socket ${path} is no socket`);
}

function unavailable(message: string, remedy: string, cause?: unknown): DevmeshError {
  return new DevmeshError("ISOLATION_UNAVAILABLE", `${message}; ${remedy}`, {
    metadata: { isolation: "vm", remedy },
    cause,
  });
}

const failed = (message: string, cause?: unknown) => sandboxFailed("qemu", message, cause);
