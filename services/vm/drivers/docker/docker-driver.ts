/**
 * Sandboxes of a container engine: locked-down containers without network.
 * Making and removing them lies here; what runs in one is left to
 * `docker-sandbox.ts`, what a container may to `container-options.ts`.
 */
import { createHash, randomInt } from "node:crypto";
import { chown, mkdir, realpath, stat } from "node:fs/promises";
import { join, posix } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import Docker from "dockerode";
import type {
  DriverProbe,
  Isolation,
  Sandbox,
  SandboxDoor,
  SandboxDriver,
  SandboxSpec,
} from "../driver.ts";
import { startFailed } from "../driver-errors.ts";
import { formatOwner, isAlive, parseOwner, thisOwner } from "../owner.ts";
import { forgetSandboxFolder, leftovers, makeSandboxFolder } from "../sandbox-folders.ts";
import { within } from "../within.ts";
import { findDiskKind, makeWorkDisk, removeFolder, type WorkDisk } from "../work-disk.ts";
import { containerOptions, labels } from "./container-options.ts";
import { statusOf } from "./docker-process.ts";
import { DockerSandbox } from "./docker-sandbox.ts";
import { Supervisor } from "./supervisor.ts";

/** What a container driver is made of. */
export interface DockerDriverOptions {
  /** Where the sandboxes' folders lie. Made if it is not there. */
  readonly stateDir: string;
  /** The engine's Unix socket. Default: `/var/run/docker.sock`. */
  readonly socketPath?: string;
  /** Must have `/bin/sh` and GNU tar. It is never pulled. */
  readonly image: string;
  /** The engine's runtime, for example `runsc`. Default: the engine's own. */
  readonly runtime?: string;
  /** Numeric `uid:gid`. Default: 1000:1000 where this process is root, its own user otherwise. */
  readonly user?: string;
  /** The bound of one start. Default: 30 s. */
  readonly createTimeoutMs?: number;
}

const removeTimeoutMs = 8_000;
const probeTimeoutMs = 15_000;

/** Makes sandboxes of a container engine. */
export class DockerDriver implements SandboxDriver {
  readonly name = "docker";
  readonly isolation: Isolation;
  readonly #options: DockerDriverOptions;
  readonly #docker: Docker;
  readonly #user: string;
  readonly #sandboxes = new Map<string, DockerSandbox>();
  /** Starts that failed and could not be tidied up. */
  readonly #abandoned = new Set<string>();
  #base: Promise<string> | undefined;
  #image: Promise<boolean> | undefined;

  constructor(options: DockerDriverOptions) {
    this.#options = options;
    this.isolation = options.runtime === "runsc" ? "gvisor" : "container";
    this.#docker = new Docker({
      socketPath: options.socketPath ?? "/var/run/docker.sock",
      host: undefined,
    });
    const uid = process.getuid?.() ?? 0;
    this.#user = options.user ?? (uid === 0 ? "1000:1000" : `${uid}:${process.getgid?.() ?? uid}`);
  }

  async probe(signal?: AbortSignal): Promise<DriverProbe> {
    const answer = { driver: this.name, isolation: this.isolation } as const;
    const missing = (reason: string, remedy: string, engine = "") => ({
      ...answer,
      available: false,
      engine,
      reason,
      remedy,
    });
    let engine: string;
    try {
      const { Version } = await within(probeTimeoutMs, this.#docker.version(), signal);
      const { CgroupVersion = "1" } = await within(probeTimeoutMs, this.#docker.info(), signal);
      engine = `Docker ${Version}, ${this.#options.runtime ?? "runc"}, cgroup v${CgroupVersion}`;
    } catch (error: unknown) {
      const path = this.#options.socketPath ?? "/var/run/docker.sock";
      return missing(
        `no container engine answers at ${path}: ${messageOf(error)}`,
        "start a Docker engine, and let this user open its socket",
      );
    }
    const { image } = this.#options;
    try {
      await within(probeTimeoutMs, this.#docker.getImage(image).inspect(), signal);
    } catch (error: unknown) {
      if (statusOf(error) !== 404)
        return missing(messageOf(error), "look at the engine's log", engine);
      return missing(
        `the engine has no image ${image}`,
        `run \`npm run setup -- container\``,
        engine,
      );
    }
    try {
      await this.#try(
        AbortSignal.any([AbortSignal.timeout(probeTimeoutMs), ...(signal ? [signal] : [])]),
      );
      engine += (await this.#takesImages()) ? ", disk image" : ", disk in memory";
      return { ...answer, available: true, engine, reason: "", remedy: "" };
    } catch (error: unknown) {
      return missing(
        `a container does not start: ${messageOf(error)}`,
        "look at the engine's log",
        engine,
      );
    }
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    let made = false;
    try {
      const base = await this.#findBase();
      const folder = await makeSandboxFolder(base, spec.id);
      made = true;
      const checked = await this.#check(spec);
      const disk = (await this.#takesImages()) ? await this.#makeDisk(folder, spec) : undefined;
      const { container, supervisor } = await within(
        this.#options.createTimeoutMs ?? 30_000,
        this.#startContainer(checked, disk),
        signal,
        () => this.#abandoned.add(spec.id),
      );
      const remove = async () => {
        supervisor.close();
        await this.#remove(spec.id);
        this.#sandboxes.delete(spec.id);
      };
      const sandbox = new DockerSandbox({ spec, container, supervisor, remove });
      this.#sandboxes.set(spec.id, sandbox);
      return sandbox;
    } catch (error: unknown) {
      if (made) {
        await this.#remove(spec.id).catch(() => {
          // The engine hangs: `reap` removes it once that answers again.
          this.#abandoned.add(spec.id);
        });
      }
      throw startFailed(this.name, error, signal);
    }
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  async reap(): Promise<string[]> {
    const base = await this.#findBase();
    const ids = new Set([...(await leftovers(base)), ...this.#abandoned]);
    const filters = { label: [`${labels.state}=${stateOf(base)}`] };
    const list = this.#docker.listContainers({ all: true, filters });
    for (const { Labels } of await within(removeTimeoutMs, list)) {
      const owner = parseOwner(Labels[labels.owner] ?? "");
      const id = Labels[labels.sandbox];
      if (id && (owner === undefined || !(await isAlive(owner)))) ids.add(id);
    }
    for (const id of ids) {
      await this.#remove(id);
      this.#abandoned.delete(id);
    }
    return [...ids].sort();
  }

  /** Starts a sandbox, runs a program in it, and removes it. */
  async #try(signal: AbortSignal): Promise<void> {
    const spec: SandboxSpec = {
      id: `sbx_probe${process.pid}x${randomInt(1_000_000)}`,
      jobId: "probe",
      limits: { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 },
      mounts: [],
      doors: [],
    };
    const sandbox = await this.create(spec, signal);
    try {
      const program = await sandbox.exec({ argv: ["tar", "--version"], env: {} }, signal);
      const { exitCode } = await program.exit;
      if (exitCode !== 0) throw new Error(`its first program ended with ${exitCode}`);
    } finally {
      await sandbox.delete();
    }
  }

  async #startContainer(spec: SandboxSpec, disk: WorkDisk | undefined) {
    const base = await this.#findBase();
    const container = await this.#docker.createContainer(
      containerOptions(spec, {
        image: this.#options.image,
        user: this.#user,
        runtime: this.#options.runtime,
        disk,
        owner: formatOwner(await thisOwner()),
        state: stateOf(base),
      }),
    );
    const streams = { stream: true, hijack: true, stdin: true, stdout: true, stderr: false };
    const supervisor = new Supervisor(await container.attach(streams));
    await container.start();
    await supervisor.ready();
    return { container, supervisor };
  }

  #makeDisk(folder: string, spec: SandboxSpec): Promise<WorkDisk> {
    return makeWorkDisk({
      folder,
      mountPoint: join(folder, "disk"),
      templates: join(folder, "..", "templates"),
      kind: "image",
      diskMib: spec.limits.diskMib,
      user: Number(this.#user.split(":")[0]),
    });
  }

  /** Checks mounts and socket; answers the spec with the paths that the engine will find. */
  async #check(spec: SandboxSpec): Promise<SandboxSpec> {
    const mounts = [];
    for (const { hostPath, sandboxPath } of spec.mounts) {
      if (
        !sandboxPath.startsWith("/opt/devmesh/") ||
        posix.normalize(sandboxPath) !== sandboxPath
      ) {
        throw new Error(`${sandboxPath}: mounts must lie below /opt/devmesh/`);
      }
      mounts.push({ sandboxPath, hostPath: await realpath(hostPath) });
    }
    const doors = await Promise.all(spec.doors.map((door) => this.#checkDoor(door)));
    return { ...spec, mounts, doors };
  }

  async #checkDoor(door: SandboxDoor): Promise<SandboxDoor> {
    const socketPath = await realpath(door.socketPath);
    if (!(await stat(socketPath)).isSocket()) throw new Error(`${socketPath} is not a socket`);
    // A connection needs the right to write, and only the sandbox's user shall have it.
    const [uid, gid] = this.#user.split(":").map(Number);
    if (process.getuid?.() === 0) await chown(socketPath, uid ?? -1, gid ?? -1);
    return { ...door, socketPath };
  }

  /** Removes what there is of a sandbox: container, disk, folder. Nothing of it need be there. */
  async #remove(id: string): Promise<void> {
    const base = await this.#findBase();
    const container = this.#docker.getContainer(`devmesh-${id}`);
    try {
      await within(removeTimeoutMs, container.remove({ force: true, v: true }));
    } catch (error: unknown) {
      // 404: gone already. 409: being removed by an earlier call.
      if (statusOf(error) !== 404 && statusOf(error) !== 409) throw error;
    }
    await removeFolder(join(base, id));
    await forgetSandboxFolder(base, id);
  }

  #findBase(): Promise<string> {
    this.#base ??= (async () => {
      await mkdir(this.#options.stateDir, { recursive: true });
      const base = join(await realpath(this.#options.stateDir), "docker");
      await mkdir(base, { recursive: true });
      return base;
    })();
    return this.#base;
  }

  /**
   * True if work dirs can lie on images that we mount: we are root, and the
   * engine sees our mounts. Found once by making such a container.
   */
  #takesImages(): Promise<boolean> {
    this.#image ??= this.#tryImage();
    return this.#image;
  }

  async #tryImage(): Promise<boolean> {
    const base = await this.#findBase();
    if (process.getuid?.() !== 0 || (await findDiskKind(base)) !== "image") return false;
    const id = `sbx_image${process.pid}x${randomInt(1_000_000)}`;
    const limits = { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 };
    const spec: SandboxSpec = { id, jobId: "probe", limits, mounts: [], doors: [] };
    try {
      const disk = await this.#makeDisk(await makeSandboxFolder(base, id), spec);
      const owner = formatOwner(await thisOwner());
      const { image, runtime } = this.#options;
      const context = { image, runtime, disk, owner, user: this.#user, state: stateOf(base) };
      await within(removeTimeoutMs, this.#docker.createContainer(containerOptions(spec, context)));
      return true;
    } catch (error: unknown) {
      // 400: the engine does not find the folder, so it runs on another host or in a mount
      // namespace of its own.
      if (statusOf(error) === 400) return false;
      this.#image = undefined;
      throw error;
    } finally {
      await this.#remove(id);
    }
  }
}

/** Names a state folder in labels, so that several drivers can share one engine. */
function stateOf(base: string): string {
  return createHash("sha256").update(base).digest("hex").slice(0, 16);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
