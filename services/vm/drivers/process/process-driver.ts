/**
 * Sandboxes of bubblewrap: Linux namespaces, no image and no engine. Making and
 * removing them lies here; what runs in one is left to `process-sandbox.ts`.
 */
import { randomInt } from "node:crypto";
import { chmod, chown, mkdir, realpath, stat, writeFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { startFailed } from "../driver-errors.ts";
import { forgetSandboxFolder, leftovers, makeSandboxFolder } from "../sandbox-folders.ts";
import { isReachableByAll, makeWorkDisk, removeFolder, type StagedBind } from "../work-disk.ts";
import { findHost, type ProcessHost } from "./host.ts";
import { PipeStore } from "./pipe-store.ts";
import { bindTargets, ProcessSandbox } from "./process-sandbox.ts";

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
    let host: ProcessHost | undefined;
    let made = false;
    const user = this.#takeUser();
    try {
      host = await this.#findHost();
      const folder = await makeSandboxFolder(host.base, spec.id);
      made = true;
      const { base, disk: kind, cgroups } = host;
      const pipes = new PipeStore(folder, host.root ? user : undefined);
      const { binds, staged } = await stage(folder, spec, host.root ? user : undefined);
      const [disk, cgroup] = await Promise.all([
        makeWorkDisk({
          folder,
          templates: join(base, "templates"),
          kind,
          diskMib: spec.limits.diskMib,
          binds: staged,
          pipes: pipes.firstPaths,
          ...(host.root && { user }),
          ...(signal && { signal }),
        }),
        cgroups?.create(spec.id, spec.limits),
      ]);
      pipes.addFirst();
      signal?.throwIfAborted();
      const sandbox = new ProcessSandbox({
        spec,
        host,
        folder,
        disk,
        pipes,
        cgroup,
        user: host.root ? user : undefined,
        binds,
        onDelete: async () => {
          await forgetSandboxFolder(base, spec.id);
          this.#sandboxes.delete(spec.id);
          this.#usersTaken.delete(user);
        },
      });
      this.#sandboxes.set(spec.id, sandbox);
      return sandbox;
    } catch (error: unknown) {
      if (host && made) await remove(host, spec.id);
      this.#usersTaken.delete(user);
      throw startFailed(this.name, error, signal);
    }
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  async reap(): Promise<string[]> {
    const host = await this.#findHost();
    const ids = await leftovers(host.base);
    for (const id of ids) await remove(host, id);
    return ids;
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

/** Removes what there is of a sandbox that no object stands for. */
async function remove(host: ProcessHost, id: string): Promise<void> {
  // Without a group: bubblewrap ends with its parent, and with it all else.
  await host.cgroups?.open(id).remove();
  await removeFolder(join(host.base, id));
  await forgetSandboxFolder(host.base, id);
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
    const isSocket = outside === spec.backendSocket;
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
  if (staged.length > 0) await chmod(folder, 0o711);
  return { binds, staged };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
