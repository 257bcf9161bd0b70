/**
 * A container engine as the driver uses it: bounded calls, images by their pins, containers
 * by their labels. What a container may is left to `container-options.ts`.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import Docker, { type Container, type ContainerCreateOptions } from "dockerode";
import { sandboxFailed, unavailable } from "../driver-errors.ts";
import { within } from "../within.ts";
import { Attachment } from "./attachment.ts";
import { endProcessesOf } from "./shim.ts";

/** What an engine is reached by. */
export interface EngineOptions {
  /** Its Unix socket. */
  readonly socketPath: string;
  /** Named in errors. */
  readonly driver: string;
  /** The runtime of containers; absent: the engine's own. */
  readonly runtime?: string | undefined;
}

/** Something of an engine that is listed by its labels. */
export interface Labelled {
  readonly kind: "container" | "network" | "volume";
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
}

const lookTimeoutMs = 5_000;
const removeTimeoutMs = 4_000;

/** One container engine. */
export class Engine {
  readonly #options: EngineOptions;
  readonly #docker: Docker;
  #described: string | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#docker = new Docker({ socketPath: options.socketPath, host: undefined });
  }

  /** The engine's name and version with its runtime, as it was when it was last looked up. */
  async description(): Promise<string> {
    return this.#described ?? (await this.describe());
  }

  /** Looks them up. Throws ISOLATION_UNAVAILABLE. */
  async describe(signal?: AbortSignal): Promise<string> {
    const { socketPath, runtime } = this.#options;
    let info: { Runtimes?: Record<string, unknown>; CgroupVersion?: string; version: string };
    try {
      const { Version } = await within(lookTimeoutMs, this.#docker.version(), signal);
      info = { ...(await within(lookTimeoutMs, this.#docker.info(), signal)), version: Version };
    } catch (error: unknown) {
      if (isCancelled(error)) throw error;
      throw unavailable(
        `no container engine answers at ${socketPath}: ${messageOf(error)}`,
        "start a Docker engine, and let this user open its socket",
        error,
      );
    }
    if (runtime !== undefined && info.Runtimes?.[runtime] === undefined) {
      throw unavailable(
        `the engine has no runtime ${runtime}`,
        `install ${runtime} and name it in the engine's configuration under "runtimes"`,
      );
    }
    const { CgroupVersion = "1", version } = info;
    this.#described = `Docker ${version}, ${runtime ?? "runc"}, cgroup v${CgroupVersion}`;
    return this.#described;
  }

  /**
   * The id of an image: `name`, `name:tag`, an id, or `name@sha256:…`, which the image of that
   * name must have as its id or its digest. Throws ISOLATION_UNAVAILABLE where it is not there
   * or is another one.
   */
  async imageId(image: string, signal?: AbortSignal): Promise<string> {
    const [name = "", pin] = image.split("@");
    let found: { Id: string; RepoDigests?: string[] };
    try {
      found = await within(lookTimeoutMs, this.#docker.getImage(name).inspect(), signal);
    } catch (error: unknown) {
      if (isCancelled(error)) throw error;
      if (statusOf(error) !== 404) throw this.#failed("the engine does not answer", error);
      throw unavailable(
        `the engine has no image ${name}`,
        "run `npm run setup -- container`",
        error,
      );
    }
    const { Id, RepoDigests } = found;
    const fits = Id === pin || (RepoDigests ?? []).some((digest) => digest.endsWith(`@${pin}`));
    if (pin === undefined || fits) return Id;
    throw unavailable(
      `the image ${name} is ${Id}, and ${pin} is asked for`,
      "build the image anew, or set DOCKER_IMAGE to what it is now",
    );
  }

  /**
   * Makes and starts a container; answers when it runs. Where the request attaches its
   * streams, so does this.
   */
  async run(request: ContainerCreateOptions): Promise<RunningContainer> {
    const container = await this.#docker.createContainer(request);
    const streams = { stream: true, hijack: true, stdin: true, stdout: true, stderr: true };
    const attachment = request.AttachStdin
      ? new Attachment(await container.attach(streams))
      : undefined;
    await container.start();
    return { id: container.id, attachment };
  }

  /** The first process of a container, as the engine's host counts; 0 if it does not run. */
  async pidOf(id: string): Promise<number> {
    return (await this.container(id).inspect()).State.Pid;
  }

  /** Whether the memory cap has ended a container; waits for its end. Throws if it is not there. */
  async endedByMemory(id: string): Promise<boolean> {
    await within(lookTimeoutMs, this.ended(id, AbortSignal.timeout(lookTimeoutMs)));
    const { State } = await within(lookTimeoutMs, this.container(id).inspect());
    return State.OOMKilled;
  }

  /** Resolves when the container does not run any more; or never. */
  async ended(id: string, signal: AbortSignal): Promise<void> {
    await this.container(id).wait({ abortSignal: signal });
  }

  /** Makes a container that never starts: to find out what the engine takes. */
  async tryMake(request: ContainerCreateOptions): Promise<void> {
    await within(lookTimeoutMs, this.#docker.createContainer(request));
  }

  /** All containers with that label, running or not. */
  async list(label: string): Promise<Labelled[]> {
    const found = this.#docker.listContainers({ all: true, filters: { label: [label] } });
    const containers = await within(lookTimeoutMs, found);
    return containers.map(({ Id, Labels }) => ({ kind: "container", id: Id, labels: Labels }));
  }

  /** All networks with that label. */
  async networks(label: string): Promise<Labelled[]> {
    const found = this.#docker.listNetworks({ filters: { label: [label] } });
    const networks = await within(lookTimeoutMs, found);
    return networks.map(({ Id, Labels }) => ({ kind: "network", id: Id, labels: Labels ?? {} }));
  }

  /** All volumes with that label. */
  async volumes(label: string): Promise<Labelled[]> {
    const found = this.#docker.listVolumes({ filters: { label: [label] } });
    const { Volumes } = await within(lookTimeoutMs, found);
    // An engine that has none says null.
    return (Volumes ?? []).map(({ Name, Labels }) => {
      return { kind: "volume", id: Name, labels: Labels ?? {} };
    });
  }

  /** Removes what was listed; nothing happens if it is gone. */
  async removeLabelled({ kind, id }: Labelled): Promise<void> {
    if (kind === "container") return this.remove(id);
    const one = kind === "network" ? this.#docker.getNetwork(id) : this.#docker.getVolume(id);
    try {
      await within(removeTimeoutMs, one.remove());
    } catch (error: unknown) {
      if (statusOf(error) !== 404) throw error;
    }
  }

  /** The same container, to be asked for by `id` or name. */
  container(id: string): Container {
    return this.#docker.getContainer(id);
  }

  /**
   * Removes a container, whatever it is doing; nothing happens if there is none. Where the
   * engine does not get it done, its processes on this host are ended first.
   */
  async remove(id: string): Promise<void> {
    for (const isLast of [false, true]) {
      try {
        await within(removeTimeoutMs, this.#removeOnce(id));
        return;
      } catch (error: unknown) {
        if (isLast || statusOf(error) !== undefined || !isTimeout(error)) throw error;
        await endProcessesOf(id);
      }
    }
  }

  async #removeOnce(id: string): Promise<void> {
    try {
      await this.container(id).remove({ force: true, v: true });
    } catch (error: unknown) {
      // 404: gone already. 409: being removed by an earlier call.
      if (statusOf(error) !== 404 && statusOf(error) !== 409) throw error;
    }
  }

  #failed(message: string, cause: unknown): DevmeshError {
    return sandboxFailed(this.#options.driver, message, cause);
  }
}

/** A container that runs. */
export interface RunningContainer {
  readonly id: string;
  /** To its first program's streams, where the request attached them. */
  readonly attachment: Attachment | undefined;
}

/** The HTTP status of an engine's refusal; undefined for anything else. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof Error && "statusCode" in error ? Number(error.statusCode) : undefined;
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isCancelled(error: unknown): boolean {
  return error instanceof DevmeshError && error.reason === "CANCELLED";
}

function isTimeout(error: unknown): boolean {
  return error instanceof DevmeshError && error.reason === "SANDBOX_FAILED";
}
