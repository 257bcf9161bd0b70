/**
 * Owns the `firecracker` driver: one throw-away microVM per sandbox, under KVM only. What a
 * guest boots from is built by `deploy/guest/build.ts`.
 */
import { randomBytes } from "node:crypto";
import { constants, existsSync } from "node:fs";
import { access, mkdir, open, realpath, rm, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { findCgroups } from "../cgroup.ts";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec, SandboxStats } from "../driver.ts";
import {
  failedProbe,
  guestStartFailed,
  sandboxFailed,
  vmUnavailable as unavailable,
} from "../driver-errors.ts";
import { makeScratch, mountImage } from "../guest/disk-images.ts";
import { guestReceipt, readCaps, readFacts, readGuestStats } from "../guest/guest-facts.ts";
import { guestFiles, readGuestManifest } from "../guest/guest-image.ts";
import { identitySettings, runInGuest, setClock } from "../guest/guest-talk.ts";
import { makeVmFolder, reapVmFolders } from "../guest/vm-folder.ts";
import { checkVmLimits, firecrackerMaxCpus } from "../guest/vm-limits.ts";
import { requireReceipt } from "../receipt-check.ts";
import { ResidentChannel } from "../resident/channel.ts";
import { type Cage, ResidentSandbox } from "../resident/resident-sandbox.ts";
import { runTool } from "../run-tool.ts";
import { checkDoors, checkMounts, checkSpec } from "../spec-check.ts";
import { type Machine, setPaused, startMachine } from "./firecracker-vm.ts";
import { giveToJail, type JailOptions, jailRoot, putIntoJail } from "./jail.ts";
import { connectVsock } from "./vsock.ts";

/** What the driver works with. */
export interface FirecrackerDriverOptions {
  /** Where it keeps folders of sandboxes and their jails. One per host. */
  readonly stateDir: string;
  /** The folder that `deploy/guest/build.ts` wrote. */
  readonly guestDir: string;
  /** Default: `firecracker` on PATH. */
  readonly binary?: string;
  /** Default: `jailer` on PATH. */
  readonly jailer?: string;
  /** The device that must be there. Default: `/dev/kvm`. */
  readonly kvmPath?: string;
  /** How long a boot may take. Default: 15 s. */
  readonly bootLimitMs?: number;
  /** Milliseconds since 1970. Default: the system's clock. */
  readonly now?: () => number;
}

/** What guests are made with. */
interface Ground {
  readonly version: string;
  readonly firecracker: string;
  readonly jailer: string;
  readonly cgroupVersion: 1 | 2;
}

/** The port of the guest at which its resident listens. */
const residentPort = 1024;
const defaultBootLimitMs = 15_000;
const versionLimitMs = 5_000;
const connectPollMs = 10;
/** What Firecracker itself takes beside the guest's memory. */
const vmmMib = 64;
const overheadMib = 128;
const mib = 1 << 20;
const firstUid = 64_000;
const uidCount = 1_000;
const probeLimits = { memoryMib: 128, cpuMillis: 1000, pids: 16, diskMib: 16 };
const internalPrefix = "own-";

/** Virtual machines by Firecracker. */
export class FirecrackerDriver implements SandboxDriver {
  readonly name = "firecracker";
  readonly isolation = "vm";
  readonly #options: FirecrackerDriverOptions;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #vmsDir: string;
  #nextUser = Math.floor(Math.random() * uidCount);

  constructor(options: FirecrackerDriverOptions) {
    this.#options = options;
    this.#vmsDir = join(options.stateDir, "firecracker");
  }

  async probe(signal?: AbortSignal): Promise<DriverProbe> {
    const base = { driver: this.name, isolation: this.isolation, engine: "" } as const;
    try {
      const ground = await this.#findGround();
      const engine = `Firecracker ${ground.version}`;
      const id = `${internalPrefix}${randomBytes(8).toString("hex")}`;
      const spec = { id, jobId: "", limits: probeLimits, mounts: [], doors: [] };
      await (await this.#cage(ground, spec, signal)).remove();
      return { ...base, engine, available: true, reason: "", remedy: "" };
    } catch (error: unknown) {
      return failedProbe(base, error, "look at the cause in the log; boot the guest by hand");
    }
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    checkSpec(spec);
    checkVmLimits(spec.limits, firecrackerMaxCpus);
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
    const ids = await reapVmFolders(
      this.#vmsDir,
      async () => {},
      // The jailer's words and those that it starts Firecracker with.
      (words, id) => words[words.indexOf("--id") + 1] === jailId(id),
    );
    return ids.filter((id) => !id.startsWith(internalPrefix));
  }

  async #cage(ground: Ground, spec: SandboxSpec, signal?: AbortSignal): Promise<Cage> {
    const { bootLimitMs = defaultBootLimitMs } = this.#options;
    const limit = AbortSignal.timeout(bootLimitMs);
    const stop = signal ? AbortSignal.any([signal, limit]) : limit;
    const folder = await makeVmFolder(this.#vmsDir, spec.id).catch((error: unknown) => {
      throw failed(`the folder of ${spec.id} cannot be made`, error);
    });
    let machine: Machine | undefined;
    let channel: ResidentChannel | undefined;
    const remove = async () => {
      channel?.close();
      await machine?.remove();
      await rm(folder, { recursive: true, force: true });
    };
    try {
      stop.throwIfAborted();
      const jail = this.#jailOf(ground, spec, folder);
      const { disks, kinds } = await this.#fill(jail, spec);
      const cpus = Math.max(1, Math.ceil(spec.limits.cpuMillis / 1000));
      machine = await startMachine(
        {
          jail,
          cpus,
          memoryMib: spec.limits.memoryMib + overheadMib,
          disks,
          kernel: guestFiles.kernel,
          initramfs: guestFiles.initramfs,
        },
        stop,
      );
      channel = await residentOf(machine, stop);
      return await cageOf({ channel, machine, spec, kinds, engine: ground.version, remove, stop });
    } catch (error: unknown) {
      await remove();
      throw guestStartFailed(this.name, error, { signal, limit, limitMs: bootLimitMs });
    }
  }

  #jailOf(ground: Ground, spec: SandboxSpec, folder: string): JailOptions {
    this.#nextUser = (this.#nextUser + 1) % uidCount;
    return {
      ...ground,
      id: jailId(spec.id),
      base: join(folder, "jail"),
      uid: firstUid + this.#nextUser,
      memoryMib: spec.limits.memoryMib + overheadMib + vmmMib,
      cpuMillis: spec.limits.cpuMillis,
    };
  }

  /** Puts all that the machine reads into its jail; answers the disks in their order. */
  async #fill(jail: JailOptions, { limits, mounts }: SandboxSpec) {
    const { guestDir, stateDir } = this.#options;
    const root = jailRoot(jail);
    for (const name of [guestFiles.kernel, guestFiles.initramfs, guestFiles.root]) {
      await putIntoJail(root, join(guestDir, name), name);
    }
    const scratch = "scratch.ext4";
    await makeScratch(join(root, scratch), limits.diskMib);
    await giveToJail(root, scratch, jail.uid);
    const tools = mounts.map(async ({ hostPath }, index) => {
      const id = `mount${index}`;
      const { path, kind } = await mountImage(join(stateDir, "mounts"), hostPath);
      await putIntoJail(root, path, id);
      return { id, name: id, isReadOnly: true, kind };
    });
    const images = await Promise.all(tools).catch((error: unknown) => {
      throw failed("the image of a mount cannot be made", error);
    });
    const disks = [
      { id: "root", name: guestFiles.root, isReadOnly: true },
      { id: "scratch", name: scratch, isReadOnly: false },
      ...images,
    ];
    return { disks, kinds: images.map(({ kind }) => kind) };
  }

  /** Everything that must be here, each with what to do when it is not. */
  async #findGround(): Promise<Ground> {
    const { guestDir, stateDir, kvmPath = "/dev/kvm" } = this.#options;
    if (process.platform !== "linux" || process.getuid?.() !== 0) {
      throw unavailable("Firecracker's jailer runs as root on Linux", "use the qemu driver");
    }
    await canUseKvm(kvmPath);
    const firecracker = await this.#program(this.#options.binary ?? "firecracker");
    const jailer = await this.#program(this.#options.jailer ?? "jailer");
    const version = await versionOf(firecracker);
    if (!(await readGuestManifest(guestDir).catch(() => undefined))) {
      throw unavailable(`there is no guest image in ${guestDir}`, "run `npm run setup -- vm`");
    }
    const cgroups = await findCgroups();
    if (!cgroups) throw unavailable("control groups cannot be made here", "run it as root");
    await mkdir(stateDir, { recursive: true });
    return { version, firecracker, jailer, cgroupVersion: cgroups.name.includes("v2") ? 2 : 1 };
  }

  async #program(name: string): Promise<string> {
    const folders = name.includes("/") ? [""] : (process.env.PATH ?? "").split(delimiter);
    const path = folders.map((folder) => join(folder, name)).find((at) => existsSync(at));
    if (path) return await realpath(path);
    throw unavailable(`there is no ${name}`, "install Firecracker with its jailer");
  }
}

/** Jails know letters, digits and hyphens. */
const jailId = (id: string) => id.replaceAll("_", "-");

async function canUseKvm(path: string): Promise<void> {
  try {
    await access(path, constants.R_OK | constants.W_OK);
    await (await open(path, "r+")).close();
  } catch (error: unknown) {
    throw unavailable("no usable KVM", kvmRemedy, error);
  }
}

const kvmRemedy = "use a host whose processor lends its virtualisation (KVM), or the qemu driver";

async function versionOf(firecracker: string): Promise<string> {
  try {
    const stdout = await runTool(firecracker, ["--version"], { timeoutMs: versionLimitMs });
    return /v(\d\S*)/.exec(stdout)?.[1] ?? "of unknown version";
  } catch (error: unknown) {
    throw unavailable(`${firecracker} cannot be run`, "install Firecracker with its jailer", error);
  }
}

/** Connects to the resident as soon as it listens. */
async function residentOf(machine: Machine, stop: AbortSignal): Promise<ResidentChannel> {
  let isOver = false;
  machine.ended.then(() => {
    isOver = true;
  });
  for (;;) {
    stop.throwIfAborted();
    if (isOver) throw failed("the virtual machine ended while it started");
    const isThere = await stat(machine.vsockPath).catch(() => undefined);
    const connection =
      isThere && (await connectVsock(machine.vsockPath, residentPort, stop).catch(() => undefined));
    if (connection) {
      const channel = new ResidentChannel({
        connection,
        driver: "firecracker",
        onBroken: () => void machine.remove(),
      });
      const closeOnStop = () => channel.fail(failed("the start was stopped"));
      stop.addEventListener("abort", closeOnStop, { once: true });
      if (stop.aborted) closeOnStop();
      await channel.hello.finally(() => stop.removeEventListener("abort", closeOnStop));
      return channel;
    }
    await new Promise((resolve) => setTimeout(resolve, connectPollMs));
  }
}

interface CageParts {
  readonly channel: ResidentChannel;
  readonly machine: Machine;
  readonly spec: SandboxSpec;
  /** Of its mounts. */
  readonly kinds: readonly ("folder" | "file")[];
  readonly engine: string;
  readonly remove: () => Promise<void>;
  readonly stop: AbortSignal;
}

async function cageOf(parts: CageParts): Promise<Cage> {
  const { channel, machine, spec, kinds, remove, stop } = parts;
  const { limits, mounts, doors } = spec;
  const closeOnStop = () => channel.fail(failed("the start was stopped"));
  stop.addEventListener("abort", closeOnStop, { once: true });
  if (stop.aborted) closeOnStop();
  try {
    await channel.configure([
      ...identitySettings(spec.id),
      ...mounts.map(({ sandboxPath }, index) => {
        return ["mount", `mount${index}`, sandboxPath, kinds[index] ?? "folder"] as const;
      }),
      ["limits", limits.memoryMib * mib, limits.pids, limits.cpuMillis * 100],
    ]);
    await setClock(channel);
    await channel.openDoors(doors);
    const facts = await readFacts((argv) => runInGuest(channel, argv));
    const engine = `Firecracker ${parts.engine} (KVM)`;
    const caps = await readCaps(channel);
    const receipt = guestReceipt({
      driver: "firecracker",
      engine,
      facts,
      factsFrom: "guest",
      caps,
    });
    requireReceipt(spec, receipt);
    let still: SandboxStats | undefined;
    return {
      driver: "firecracker",
      channel,
      receipt,
      stats: async () => still ?? (await readGuestStats(channel)),
      async freeze() {
        // A guest that stands still cannot tell: this is what it used up to then.
        still ??= await readGuestStats(channel);
        await setPaused(machine.api, true);
      },
      async resume() {
        await setPaused(machine.api, false);
        if (still) await setClock(channel);
        still = undefined;
      },
      remove,
    };
  } finally {
    stop.removeEventListener("abort", closeOnStop);
  }
}

const failed = (message: string, cause?: unknown) => sandboxFailed("firecracker", message, cause);
