/**
 * Sandboxes of a container engine: locked-down containers without network, some made ahead.
 * Making a container lies in `container-maker.ts`, what it may in `container-options.ts`,
 * what runs in it with the resident.
 */
import { randomInt } from "node:crypto";
import { realpath, stat } from "node:fs/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type {
  DriverProbe,
  Isolation,
  ReadOnlyMount,
  Sandbox,
  SandboxDoor,
  SandboxDriver,
  SandboxLimits,
  SandboxSpec,
} from "../driver.ts";
import { startFailed } from "../driver-errors.ts";
import { isAlive, parseOwner } from "../owner.ts";
import { requireReceipt } from "../receipt-check.ts";
import { ResidentSandbox } from "../resident/resident-sandbox.ts";
import { leftovers } from "../sandbox-folders.ts";
import { checkDoors, checkMounts, checkSpec, isOfOneJob } from "../spec-check.ts";
import { WarmPool } from "../warm-pool.ts";
import { within } from "../within.ts";
import { containerCage } from "./container-cage.ts";
import { ContainerMaker, type MadeContainer } from "./container-maker.ts";
import { type ContainerShape, labels } from "./container-options.ts";
import { Engine, messageOf } from "./engine.ts";
import { StartGate } from "./start-gate.ts";

/** What a container driver is made of. */
export interface DockerDriverOptions {
  /** Where the sandboxes' folders lie. Made if it is not there. */
  readonly stateDir: string;
  /** The engine's Unix socket. Default: `/var/run/docker.sock`. */
  readonly socketPath?: string;
  /**
   * Must have Perl and GNU tar. It is never pulled. `name@sha256:…` and an id are held to:
   * another image is refused.
   */
  readonly image: string;
  /** The engine's runtime, for example `runsc`. Default: the engine's own. */
  readonly runtime?: string;
  /** Numeric `uid:gid`. Default: 1000:1000 where this process is root, its own user otherwise. */
  readonly user?: string;
  /** The bound of one start. Default: 30 s. */
  readonly createTimeoutMs?: number;
  /**
   * How many containers are kept ready for each shape (image, limits, mounts) that was asked
   * for once. Default: 0.
   */
  readonly warm?: number;
  /** How many are kept ready of all shapes together. Default: 8. */
  readonly warmTotal?: number;
}

/** gVisor's kernel is a program with threads of its own, within the sandbox's limits. */
const gvisorLeast = { memoryMib: 128, pids: 256 };
const probeTimeoutMs = 15_000;
/** Starts that an engine does at once; more only make each of them slower. */
const gateOptions = { width: 3, line: 128, waitMs: 60_000 };
/** The longest that `close` waits for starts that were given up, in milliseconds. */
const closeLimitMs = 15_000;
/** How ids of containers begin that are no sandbox yet. */
const warmPrefix = "sbx_warm";

/** Makes sandboxes of a container engine. */
export class DockerDriver implements SandboxDriver {
  readonly name: "docker" | "gvisor";
  readonly isolation: Isolation;
  readonly #options: DockerDriverOptions;
  readonly #least: Partial<SandboxLimits>;
  readonly #engine: Engine;
  readonly #maker: ContainerMaker;
  readonly #gate = new StartGate(gateOptions);
  readonly #pool: WarmPool<ContainerShape, MadeContainer>;
  readonly #sandboxes = new Map<string, Sandbox>();
  /** Starts that were given up while the engine was at them, with what is removed after them. */
  readonly #givenUp = new Set<Promise<unknown>>();

  constructor(options: DockerDriverOptions) {
    this.#options = options;
    const { runtime, stateDir, socketPath = "/var/run/docker.sock" } = options;
    const isGvisor = runtime === "runsc";
    this.#least = isGvisor ? gvisorLeast : {};
    this.name = isGvisor ? "gvisor" : "docker";
    this.isolation = isGvisor ? "gvisor" : "container";
    this.#engine = new Engine({ socketPath, driver: this.name, runtime });
    const uid = process.getuid?.() ?? 0;
    const own = uid === 0 ? "1000:1000" : `${uid}:${process.getgid?.() ?? uid}`;
    const { name: driver, isolation } = this;
    const user = options.user ?? own;
    this.#maker = new ContainerMaker({
      engine: this.#engine,
      driver,
      isolation,
      stateDir,
      user,
      runtime,
    });
    this.#pool = new WarmPool({
      perShape: options.warm ?? 0,
      total: options.warmTotal ?? 8,
      make: (shape) => this.#make(`${warmPrefix}${process.pid}x${randomInt(2 ** 40)}`, "", shape),
      drop: (made) => this.#drop(made),
    });
  }

  get #createTimeoutMs(): number {
    return this.#options.createTimeoutMs ?? 30_000;
  }

  async probe(signal?: AbortSignal): Promise<DriverProbe> {
    const answer = { driver: this.name, isolation: this.isolation } as const;
    let engine = "";
    try {
      engine = await this.#engine.describe(signal);
      const imageId = await this.#engine.imageId(this.#options.image, signal);
      const bound = AbortSignal.timeout(probeTimeoutMs);
      await this.#try(signal ? AbortSignal.any([bound, signal]) : bound);
      engine += (await this.#maker.takesImages(imageId)) ? ", disk image" : ", disk in memory";
      return { ...answer, available: true, engine, reason: "", remedy: "" };
    } catch (error: unknown) {
      const known = error instanceof DevmeshError ? error.metadata.remedy : undefined;
      const reason =
        known === undefined ? `a container does not start: ${messageOf(error)}` : messageOf(error);
      const remedy = known ?? "look at the engine's log";
      return { ...answer, available: false, engine, reason, remedy };
    }
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    checkSpec(spec, this.#least);
    try {
      checkMounts(this.name, spec.mounts);
      await checkDoors(this.name, spec.doors);
      const [shape, doors] = await Promise.all([
        this.#shapeOf(spec, signal),
        Promise.all(spec.doors.map(realDoor)),
      ]);
      this.#pool.forget(({ imageId }) => imageId !== shape.imageId);
      const ready = isOfOneJob(spec) ? undefined : await this.#takeReady(shape, signal);
      return (
        (ready && (await this.#becomeReady(ready, spec, doors))) ??
        (await this.#createNew(spec, shape, doors, signal))
      );
    } catch (error: unknown) {
      throw startFailed(this.name, error, signal);
    }
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  async reap(): Promise<string[]> {
    const ids = new Map<string, string | undefined>();
    for (const id of await leftovers(await this.#maker.base())) ids.set(id, undefined);
    for (const id of this.#maker.abandoned) ids.set(id, undefined);
    for (const container of await this.#engine.list(await this.#maker.stateLabel())) {
      const owner = parseOwner(container.labels[labels.owner] ?? "");
      const id = container.labels[labels.sandbox];
      // By its own id: one that was made ahead may have its sandbox's name by now.
      if (id && (owner === undefined || !(await isAlive(owner)))) ids.set(id, container.id);
    }
    const failures: unknown[] = [];
    for (const [id, containerId] of ids) {
      try {
        await this.#maker.remove(id, containerId);
      } catch (error: unknown) {
        // One that stays must not keep the others.
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
    return [...ids.keys()].filter((id) => !id.startsWith(warmPrefix)).sort();
  }

  /** Resolves when all that shall be ready is, and all that shall go is gone. */
  settled(): Promise<void> {
    return this.#pool.settled();
  }

  async close(): Promise<void> {
    await this.#pool.close();
    while (this.#givenUp.size > 0) {
      await within(closeLimitMs, Promise.all(this.#givenUp));
    }
  }

  /** Starts a sandbox, runs a program in it, and removes it. */
  async #try(signal: AbortSignal): Promise<void> {
    const spec: SandboxSpec = {
      id: `sbx_probe${process.pid}x${randomInt(1_000_000)}`,
      jobId: "probe",
      limits: { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16, ...this.#least },
      mounts: [],
      doors: [],
    };
    const shape = await this.#shapeOf(spec, signal);
    const sandbox = await this.#createNew(spec, shape, [], signal);
    try {
      const program = await sandbox.exec({ argv: ["tar", "--version"], env: {} }, signal);
      const { exitCode } = await program.exit;
      if (exitCode !== 0) throw new Error(`its first program ended with ${exitCode}`);
    } finally {
      await sandbox.delete();
    }
  }

  async #createNew(
    spec: SandboxSpec,
    shape: ContainerShape,
    doors: readonly SandboxDoor[],
    signal?: AbortSignal,
  ): Promise<Sandbox> {
    const made = await this.#make(spec.id, spec.jobId, shape, signal);
    try {
      return await this.#become(made, spec, doors);
    } catch (error: unknown) {
      await this.#maker.tidy(spec.id);
      throw error;
    }
  }

  /** A container that waits for what it becomes; nothing of it is left when this throws. */
  async #make(
    id: string,
    jobId: string,
    shape: ContainerShape,
    signal?: AbortSignal,
  ): Promise<MadeContainer> {
    if (this.#sandboxes.has(id)) throw new Error(`${id} is there already`);
    return this.#gate.pass(async () => {
      const making = this.#maker.make(id, jobId, shape);
      let isUnderWay = true;
      const ended = () => {
        isUnderWay = false;
      };
      making.then(ended, ended);
      try {
        return await within(this.#createTimeoutMs, making, signal);
      } catch (error: unknown) {
        // What is there so far goes now, what the engine still makes as soon as it is there.
        if (isUnderWay) this.#giveUp(making.then(ended, ended).then(() => this.#maker.tidy(id)));
        await this.#maker.tidy(id);
        throw error;
      }
    }, signal);
  }

  /** Takes what is removed later, which `close` waits for. */
  #giveUp(removal: Promise<unknown>): void {
    this.#givenUp.add(removal);
    void removal.finally(() => this.#givenUp.delete(removal));
  }

  /** Gives a container its sandbox's doors, and hands it out if it is held to what was asked for. */
  async #become(
    made: MadeContainer,
    spec: SandboxSpec,
    doors: readonly SandboxDoor[],
  ): Promise<Sandbox> {
    const { id, jobId, limits } = spec;
    if (made.id !== id) await this.#maker.note(id, made);
    await made.channel.openDoors(doors);
    const receipt = await made.kernel.receipt();
    requireReceipt(spec, receipt);
    const cage = containerCage({
      driver: this.name,
      engine: this.#engine,
      made,
      receipt,
      remove: () => this.#maker.remove(id),
    });
    const sandbox = new ResidentSandbox({
      id,
      jobId,
      createdAtMs: Date.now(),
      cage,
      diskMib: limits.diskMib,
      onDeleted: () => this.#sandboxes.delete(id),
    });
    this.#sandboxes.set(id, sandbox);
    return sandbox;
  }

  async #takeReady(
    shape: ContainerShape,
    signal?: AbortSignal,
  ): Promise<MadeContainer | undefined> {
    const taking = this.#pool.take(JSON.stringify(shape), shape);
    // Both bounds of one that is being made: its turn, and its start.
    const limitMs = gateOptions.waitMs + this.#createTimeoutMs;
    try {
      return await within(limitMs, taking, signal);
    } catch (error: unknown) {
      // Taken while it was made, for a start that has been given up since.
      const dropped = taking.then((late) => late && this.#drop(late));
      this.#giveUp(
        dropped.catch(() => {
          // `reap` removes it once the engine answers.
        }),
      );
      throw error;
    }
  }

  /** `undefined`: it ended just now, and a new one is to be made. */
  async #becomeReady(
    made: MadeContainer,
    spec: SandboxSpec,
    doors: readonly SandboxDoor[],
  ): Promise<Sandbox | undefined> {
    try {
      return await this.#become(made, spec, doors);
    } catch (error: unknown) {
      await Promise.all([this.#maker.tidy(spec.id), this.#drop(made).catch(() => {})]);
      if (made.isAlive()) throw error;
      return undefined;
    }
  }

  /** What containers a spec can have, with the paths that the engine will find. */
  async #shapeOf({ limits, mounts }: SandboxSpec, signal?: AbortSignal): Promise<ContainerShape> {
    const [imageId, ...found] = await Promise.all([
      this.#engine.imageId(this.#options.image, signal),
      ...mounts.map(realMount),
    ]);
    return { imageId, limits, mounts: found };
  }

  async #drop(made: MadeContainer): Promise<void> {
    made.channel.close();
    await this.#maker.remove(made.id);
  }
}

/** `file` tells a mount whose source was replaced meanwhile apart from what it was. */
async function realMount({ hostPath, sandboxPath }: ReadOnlyMount) {
  const path = await realpath(hostPath);
  const { dev, ino } = await stat(path);
  return { sandboxPath, hostPath: path, file: `${dev}:${ino}` };
}

async function realDoor(door: SandboxDoor): Promise<SandboxDoor> {
  return { ...door, socketPath: await realpath(door.socketPath) };
}
