/**
 * Makes containers that run a resident and wait for what they become, and takes away what
 * there is of one. What a container may is left to `container-options.ts`.
 */
import { randomInt } from "node:crypto";
import { mkdir, readFile, realpath, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import type { ContainerCreateOptions } from "dockerode";
import type { RefusalWatch } from "../cgroup.ts";
import type { Isolation } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { formatOwner, thisOwner } from "../owner.ts";
import { ResidentChannel } from "../resident/channel.ts";
import { metFlag } from "../resident/frames.ts";
import { residentPath } from "../resident/resident-path.ts";
import { forgetSandboxFolder, makeSandboxFolder } from "../sandbox-folders.ts";
import type { PoolMember } from "../warm-pool.ts";
import { findDiskKind, makeWorkDisk, removeFolder, type WorkDisk } from "../work-disk.ts";
import { type ChannelSocket, listenForResident } from "./channel-socket.ts";
import { ContainerKernel } from "./container-kernel.ts";
import {
  type ContainerContext,
  type ContainerShape,
  containerName,
  containerOptions,
} from "./container-options.ts";
import { type Engine, statusOf } from "./engine.ts";
import { stateLabelOf, stateOf } from "./engine-finder.ts";

/** What containers are made with. */
export interface ContainerMakerOptions {
  readonly engine: Engine;
  readonly driver: string;
  readonly isolation: Isolation;
  readonly stateDir: string;
  /** Numeric `uid:gid`. */
  readonly user: string;
  readonly runtime: string | undefined;
}

/** A container whose resident answers. */
export interface MadeContainer extends PoolMember {
  /** By which its folder is named. */
  readonly id: string;
  readonly containerId: string;
  readonly channel: ResidentChannel;
  readonly kernel: ContainerKernel;
}

/** In the folder of a sandbox that was made ahead: what it was made as. */
const noteName = "container";

/** Makes and removes containers. */
export class ContainerMaker {
  readonly #options: ContainerMakerOptions;
  #base: Promise<string> | undefined;
  #takesImages: Promise<boolean> | undefined;
  #resident: Promise<string> | undefined;
  readonly #abandoned = new Set<string>();

  constructor(options: ContainerMakerOptions) {
    this.#options = options;
  }

  get #uid(): number {
    return Number(this.#options.user.split(":")[0]);
  }

  /** What could not be removed when it should have been: the engine did not answer. */
  get abandoned(): ReadonlySet<string> {
    return this.#abandoned;
  }

  /** Where the folders of this driver's sandboxes lie. */
  base(): Promise<string> {
    this.#base ??= (async () => {
      const { stateDir, driver } = this.#options;
      await mkdir(stateDir, { recursive: true });
      const base = join(await realpath(stateDir), driver);
      await mkdir(base, { recursive: true });
      return base;
    })();
    return this.#base;
  }

  /** The label that all containers of this state folder have, and no others. */
  async stateLabel(): Promise<string> {
    return stateLabelOf(await this.base());
  }

  /** Makes one. What there is of it when it throws, `remove` takes away. */
  async make(id: string, jobId: string, shape: ContainerShape): Promise<MadeContainer> {
    const { engine, driver, isolation } = this.#options;
    const folder = await makeSandboxFolder(await this.base(), id);
    // Where the engine takes our mounts it is on this kernel, and takes our sockets as well.
    const isHere = await this.takesImages(shape.imageId);
    const takesSockets = isHere && isolation !== "gvisor";
    const [disk, socket, description] = await Promise.all([
      isHere ? this.#makeDisk(folder, shape.limits.diskMib) : undefined,
      takesSockets ? listenForResident(folder, this.#uid) : undefined,
      engine.description(),
    ]);
    try {
      const paths = { disk, socketPath: socket?.path };
      const running = await engine.run(await this.#request(id, jobId, shape, paths));
      const { id: containerId, attachment } = running;
      const connection = socket ? await this.#connection(socket, containerId) : attachment;
      if (connection === undefined) throw new Error("the container has no connection");
      let starts: RefusalWatch | undefined;
      const channel = new ResidentChannel({
        connection,
        driver,
        // One that breaks the protocol has lost its connection, and with that its life.
        onBroken: () => {},
        endedByCap: async () => {
          if (await engine.endedByMemory(containerId)) return metFlag.memory;
          return (starts?.refused ?? 0) > 0 ? metFlag.pids : 0;
        },
      });
      const gone = new Promise<void>((resolve) => connection.once("close", () => resolve()));
      await channel.hello.catch((error: unknown) => {
        const words = attachment?.lastWords ?? "";
        throw sandboxFailed(driver, `the container ended while it started: ${words}`, error);
      });
      const pid = await engine.pidOf(containerId);
      const place = { driver, isolation, engine: description, containerId, pid, channel };
      const kernel = await ContainerKernel.find({ ...place, work: disk?.work });
      // A kernel that is a program does not live on without a thread that it wants to start.
      if (isolation === "gvisor") starts = kernel.watchPidsRefused();
      gone.then(() => starts?.close());
      const isAlive = () => channel.isOpen;
      return { id, containerId, channel, kernel, gone, isAlive };
    } finally {
      socket?.close();
    }
  }

  /** The resident's connection. Rejects when its container ends before. */
  async #connection(socket: ChannelSocket, containerId: string): Promise<Socket> {
    const [ended, stop] = [new AbortController(), new AbortController()];
    const onEnd = () => ended.abort(new Error("the container ended while it started"));
    // An engine that cannot tell leaves it to the bound of the start.
    this.#options.engine.ended(containerId, stop.signal).then(onEnd, () => {});
    try {
      return await socket.connection(ended.signal);
    } finally {
      stop.abort();
    }
  }

  /** Notes on disk that a container has become the sandbox `id`, before anybody has it. */
  async note(id: string, { id: madeAs, containerId }: MadeContainer): Promise<void> {
    const folder = await makeSandboxFolder(await this.base(), id);
    await writeFile(join(folder, noteName), `${madeAs} ${containerId}`, { mode: 0o600 });
    const container = this.#options.engine.container(containerId);
    container.rename({ name: containerName(id) }).catch(() => {
      // Only for people who list containers; everything here goes by ids.
    });
  }

  /**
   * Removes what there is of a sandbox: container, disk, folders. Nothing of it need be there.
   * `containerId`: as the engine lists it. Absent: as the folder tells, or by its name.
   */
  async remove(id: string, containerId?: string): Promise<void> {
    try {
      await this.#removeAll(id, containerId);
    } catch (error: unknown) {
      this.#abandoned.add(id);
      throw error;
    }
    this.#abandoned.delete(id);
  }

  async #removeAll(id: string, containerId?: string): Promise<void> {
    const base = await this.base();
    const [madeAs, noted] = await noteIn(join(base, id));
    await this.#options.engine.remove(containerId ?? noted ?? containerName(id));
    for (const name of madeAs === undefined ? [id] : [madeAs, id]) {
      await removeFolder(join(base, name));
      await forgetSandboxFolder(base, name);
    }
  }

  /** Removes what a failed start left; what stays is abandoned. */
  async tidy(id: string): Promise<void> {
    await this.remove(id).catch(() => {
      // The engine is away or hangs.
    });
  }

  /**
   * True if work dirs can lie on images that we mount: we are root, and the
   * engine sees our mounts. Found once by making such a container.
   */
  takesImages(imageId: string): Promise<boolean> {
    this.#takesImages ??= this.#tryImages(imageId).catch((error: unknown) => {
      this.#takesImages = undefined;
      throw error;
    });
    return this.#takesImages;
  }

  async #tryImages(imageId: string): Promise<boolean> {
    const base = await this.base();
    if (process.getuid?.() !== 0 || (await findDiskKind(base)) !== "image") return false;
    const id = `sbx_image${process.pid}x${randomInt(1_000_000)}`;
    const limits = { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 };
    try {
      const disk = await this.#makeDisk(await makeSandboxFolder(base, id), limits.diskMib);
      const shape = { imageId, limits, mounts: [] };
      await this.#options.engine.tryMake(
        await this.#request(id, "", shape, { disk, socketPath: undefined }),
      );
      return true;
    } catch (error: unknown) {
      // 400: the engine does not find the folder, so it runs on another host or in a mount
      // namespace of its own.
      if (statusOf(error) === 400) return false;
      throw error;
    } finally {
      await this.tidy(id);
    }
  }

  async #request(
    id: string,
    jobId: string,
    shape: ContainerShape,
    paths: Pick<ContainerContext, "disk" | "socketPath">,
  ): Promise<ContainerCreateOptions> {
    const { user, runtime } = this.#options;
    this.#resident ??= readFile(residentPath, "utf8");
    return containerOptions(shape, {
      id,
      jobId,
      resident: await this.#resident,
      user,
      runtime,
      ...paths,
      owner: formatOwner(await thisOwner()),
      state: stateOf(await this.base()),
    });
  }

  #makeDisk(folder: string, diskMib: number): Promise<WorkDisk> {
    return makeWorkDisk({
      folder,
      mountPoint: join(folder, "disk"),
      templates: join(folder, "..", "templates"),
      kind: "image",
      diskMib,
      user: this.#uid,
    });
  }
}

async function noteIn(folder: string): Promise<string[]> {
  try {
    return (await readFile(join(folder, noteName), "utf8")).split(" ");
  } catch (error: unknown) {
    // Made as what it is, or nothing is left of it.
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
