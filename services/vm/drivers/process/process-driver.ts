/**
 * Sandboxes of bubblewrap: Linux namespaces, no image and no engine. Making and
 * removing them lies here; what runs in one is left to `process-sandbox.ts`.
 */
import { randomInt } from "node:crypto";
import { mkdirSync, rmdirSync } from "node:fs";
import { chown, mkdir, realpath, stat, writeFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { startFailed } from "../driver-errors.ts";
import { forgetSandboxFolder, leftovers, makeSandboxFolder } from "../sandbox-folders.ts";
import { isReachableByAll, makeWorkDisk, removeFolder, type StagedBind } from "../work-disk.ts";
import { findHost, makeEtc, type ProcessHost, reachFolder } from "./host.ts";
import { PipeStore } from "./pipe-store.ts";
import { bindTargets, ProcessSandbox } from "./process-sandbox.ts";
import { endStrays } from "./strays.ts";

/** What a process driver is made of. */
export interface ProcessDriverOptions {
  /** Where its sandboxes' folders lie. Made if it is not there. */
  readonly stateDir: string;
  /** Default: `bwrap`, looked up on the PATH. */
  readonly bwrap?: string;
}

/** Host users of root's sandboxes, one for each; a range that no account is given. */
const firstUser = 2_000_000_000;
const users = 65_536;

const probeTimeoutMs = 10_000;

/** Makes sandboxes of bubblewrap. Linux only. */
export class ProcessDriver implements SandboxDriver {
  readonly name = "process";
  readonly isolation = "process";
  readonly #options: ProcessDriverOptions;
  readonly #sandboxes = new Map<string, ProcessSandbox>();
  readonly #usersTaken = new Set<number>();
  #host: Promise<ProcessHost> | undefined;

  constructor(options: ProcessDriverOptions) {
    this.#options = options;
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
    if (process.platform !== "linux") {
      return missing(
        `process sandboxes need Linux, this is ${process.platform}`,
        "use the docker driver",
      );
    }
    let host: ProcessHost;
    try {
      host = await this.#findHost();
    } catch (error: unknown) {
      return missing(`bubblewrap cannot be run: ${messageOf(error)}`, "install bubblewrap (bwrap)");
    }
    const spec: SandboxSpec = {
      id: `sbx_probe${process.pid}x${randomInt(1_000_000)}`,
      jobId: "probe",
      limits: { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 },
      mounts: [],
      doors: [],
    };
    const limit = AbortSignal.any([
      AbortSignal.timeout(probeTimeoutMs),
      ...(signal ? [signal] : []),
    ]);
    try {
      const sandbox = await this.create(spec, limit);
      try {
        const program = await sandbox.exec({ argv: ["true"], env: {} }, limit);
        const { exitCode } = await program.exit;
        if (exitCode !== 0) throw new Error(`its first program ended with ${exitCode}`);
      } finally {
        await sandbox.delete();
      }
      return { ...answer, available: true, engine: host.engine, reason: "", remedy: "" };
    } catch (error: unknown) {
      return missing(
        `a sandbox does not start: ${messageOf(error)}`,
        "allow unprivileged user namespaces for bwrap (kernel.unprivileged_userns_clone=1, " +
          "user.max_user_namespaces above 0, and an AppArmor profile that lets bwrap use them)",
        host.engine,
      );
    }
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    const user = process.getuid?.() === 0 ? this.#takeUser() : undefined;
    let tidy = async () => {};
    try {
      const host = await this.#findHost();
      const folder = await makeSandboxFolder(host.base, spec.id);
      tidy = () => this.#remove(host, spec.id);
      const sandbox = await this.#make(host, folder, spec, user);
      signal?.throwIfAborted();
      this.#sandboxes.set(spec.id, sandbox);
      return sandbox;
    } catch (error: unknown) {
      await tidy();
      if (user !== undefined) this.#usersTaken.delete(user);
      throw startFailed(this.name, error, signal);
    }
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  async reap(): Promise<string[]> {
    const host = await this.#findHost();
    const ids = await leftovers(host.base);
    for (const id of ids) {
      await endStrays(host.bwrap, id);
      await this.#remove(host, id);
    }
    return ids;
  }

  async #make(
    host: ProcessHost,
    folder: string,
    spec: SandboxSpec,
    user: number | undefined,
  ): Promise<ProcessSandbox> {
    const reach = reachFolder(host, spec.id);
    mkdirSync(reach, { recursive: true, mode: 0o711 });
    const { binds, staged } = await stage(reach, spec, user);
    const pipes = new PipeStore(folder, user);
    const etc = makeEtc(join(reach, "etc"));
    // Both to their end, so that what one of them made can be removed.
    const [disk, cgroup] = await Promise.allSettled([
      makeWorkDisk({
        folder,
        mountPoint: join(reach, "disk"),
        templates: join(host.base, "templates"),
        kind: host.disk,
        diskMib: spec.limits.diskMib,
        binds: staged,
        pipes: pipes.firstPaths,
        ...(user !== undefined && { user }),
      }),
      host.cgroups?.create(spec.id, spec.limits),
    ]);
    if (disk.status === "rejected") throw disk.reason;
    if (cgroup.status === "rejected") throw cgroup.reason;
    pipes.addFirst();
    return new ProcessSandbox({
      spec,
      host,
      system: [...host.system, ...etc],
      disk: disk.value,
      pipes,
      cgroup: cgroup.value,
      user,
      binds,
      remove: async () => {
        await this.#remove(host, spec.id);
        this.#sandboxes.delete(spec.id);
        if (user !== undefined) this.#usersTaken.delete(user);
      },
    });
  }

  /** Removes what there is of a sandbox in which nothing runs by our hand any more. */
  async #remove(host: ProcessHost, id: string): Promise<void> {
    // Without a group: bubblewrap ends with its parent, and with it all else.
    await host.cgroups?.open(id).remove();
    await removeFolder(reachFolder(host, id));
    await removeFolder(join(host.base, id));
    await forgetSandboxFolder(host.base, id);
    if (host.reach !== host.base) removeIfEmpty(host.reach);
  }

  #findHost(): Promise<ProcessHost> {
    this.#host ??= findHost(this.#options.bwrap ?? "bwrap", this.#options.stateDir);
    // A failure is not kept: bubblewrap may be installed meanwhile.
    this.#host.catch(() => {
      this.#host = undefined;
    });
    return this.#host;
  }

  #takeUser(): number {
    for (;;) {
      const user = firstUser + randomInt(users);
      if (this.#usersTaken.has(user)) continue;
      this.#usersTaken.add(user);
      return user;
    }
  }
}

/** Synchronous, as is the making of folders in it: neither comes between the other's steps. */
function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error: unknown) {
    // Another sandbox's things lie in it, or it is gone already.
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw error;
  }
}

/**
 * Checks mounts and socket, and finds for each the path by which the sandbox's
 * user reaches it: its own, or a bind below the sandbox's folder where the way
 * to it is closed for others.
 */
async function stage(
  folder: string,
  spec: SandboxSpec,
  user: number | undefined,
): Promise<{ binds: Map<string, string>; staged: StagedBind[] }> {
  const binds = new Map<string, string>();
  const staged: StagedBind[] = [];
  for (const [inside, outside] of bindTargets(spec)) {
    const isSocket = spec.doors.some(({ socketPath }) => socketPath === outside);
    if (!isSocket && (!inside.startsWith("/opt/devmesh/") || posix.normalize(inside) !== inside)) {
      throw new Error(`${inside}: mounts must lie below /opt/devmesh/`);
    }
    const source = await realpath(outside);
    const found = await stat(source);
    if (isSocket && !found.isSocket()) throw new Error(`${outside} is not a socket`);
    // A connection needs the right to write, and only this sandbox shall have it.
    if (isSocket && user !== undefined) await chown(source, user, user);
    if (user === undefined || (await isReachableByAll(source))) {
      binds.set(inside, source);
      continue;
    }
    const target = join(folder, `mount-${staged.length}`);
    if (found.isDirectory()) await mkdir(target, { mode: 0o755 });
    else await writeFile(target, "", { mode: 0o644 });
    staged.push({ source, target });
    binds.set(inside, target);
  }
  return { binds, staged };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
