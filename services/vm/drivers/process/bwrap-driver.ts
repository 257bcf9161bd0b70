/**
 * Sandboxes of bubblewrap: Linux namespaces, no image and no engine. Making and
 * removing them lies here; what runs in one is left to its resident.
 */
import { randomInt } from "node:crypto";
import { mkdirSync, rmdirSync } from "node:fs";
import { mkdir, realpath, stat, writeFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Cgroup } from "../cgroup.ts";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { startFailed } from "../driver-errors.ts";
import { requireReceipt } from "../receipt-check.ts";
import { ResidentSandbox } from "../resident/resident-sandbox.ts";
import { forgetSandboxFolder, leftovers, makeSandboxFolder } from "../sandbox-folders.ts";
import {
  isReachableByAll,
  makeWorkDisk,
  removeFolder,
  type StagedBind,
  type WorkDisk,
} from "../work-disk.ts";
import { openCage } from "./bwrap-cage.ts";
import { findHost, makeEtc, type ProcessHost, reachFolder } from "./host.ts";
import { endStrays } from "./strays.ts";

/** What a driver of bubblewrap is made of. */
export interface BwrapDriverOptions {
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
export class BwrapDriver implements SandboxDriver {
  readonly name = "process";
  readonly isolation = "process";
  readonly #options: BwrapDriverOptions;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #usersTaken = new Set<number>();
  #host: Promise<ProcessHost> | undefined;

  constructor(options: BwrapDriverOptions) {
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
        `process sandboxes of bubblewrap need Linux, this is ${process.platform}`,
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
          "user.max_user_namespaces above 0, and an AppArmor profile that lets bwrap use them), " +
          "and install perl",
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
      const sandbox = await this.#make(host, folder, spec, user, signal);
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
      await host.cgroups?.open(id).remove();
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
    signal: AbortSignal | undefined,
  ): Promise<Sandbox> {
    const reach = reachFolder(host, spec.id);
    mkdirSync(reach, { recursive: true, mode: 0o711 });
    const [{ binds, staged }] = await Promise.all([stage(reach, spec, user), checkDoors(spec)]);
    const etc = makeEtc(join(reach, "etc"));
    const [disk, cgroup] = await bothDone(
      this.#makeDisk(host, folder, spec, user, staged),
      host.cgroups?.create(spec.id, spec.limits),
    );
    signal?.throwIfAborted();
    const cage = await openCage({
      ...{ host, spec, user, cgroup, disk },
      layout: { limits: spec.limits, system: [...host.system, ...etc], disk, binds },
      remove: async () => {
        await this.#remove(host, spec.id);
        if (user !== undefined) this.#usersTaken.delete(user);
      },
      ...(signal && { signal }),
    });
    try {
      requireReceipt(spec, cage.receipt);
      await cage.channel.openDoors(spec.doors);
      signal?.throwIfAborted();
    } catch (error: unknown) {
      cage.channel.close();
      await cage.remove();
      throw error;
    }
    return new ResidentSandbox({
      ...{ id: spec.id, jobId: spec.jobId, createdAtMs: Date.now(), cage },
      diskMib: spec.limits.diskMib,
      onDeleted: () => this.#sandboxes.delete(spec.id),
    });
  }

  #makeDisk(
    host: ProcessHost,
    folder: string,
    spec: SandboxSpec,
    user: number | undefined,
    binds: readonly StagedBind[],
  ): Promise<WorkDisk> {
    return makeWorkDisk({
      folder,
      mountPoint: join(reachFolder(host, spec.id), "disk"),
      templates: join(host.base, "templates"),
      kind: host.disk,
      diskMib: spec.limits.diskMib,
      binds,
      ...(user !== undefined && { user }),
    });
  }

  /** Removes what there is of a sandbox that was killed. */
  async #remove(host: ProcessHost, id: string): Promise<void> {
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

/** Both to their end, so that what one of them made can be removed when the other fails. */
async function bothDone(
  disk: Promise<WorkDisk>,
  cgroup: Promise<Cgroup> | undefined,
): Promise<[WorkDisk, Cgroup | undefined]> {
  const [first, second] = await Promise.allSettled([disk, cgroup]);
  if (first.status === "rejected") throw first.reason;
  if (second.status === "rejected") throw second.reason;
  return [first.value, second.value];
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

/** A door leads to a socket that is there when the sandbox is made. */
async function checkDoors({ doors }: SandboxSpec): Promise<void> {
  for (const { socketPath } of doors) {
    if (!(await stat(socketPath)).isSocket()) throw new Error(`${socketPath} is not a socket`);
  }
}

/**
 * Checks mounts, and finds for each the path by which the sandbox's user reaches
 * it: its own, or a bind below the sandbox's folder where the way to it is
 * closed for others.
 */
async function stage(
  folder: string,
  spec: SandboxSpec,
  user: number | undefined,
): Promise<{ binds: Map<string, string>; staged: StagedBind[] }> {
  const binds = new Map<string, string>();
  const staged: StagedBind[] = [];
  for (const { sandboxPath: inside, hostPath } of spec.mounts) {
    if (!inside.startsWith("/opt/devmesh/") || posix.normalize(inside) !== inside) {
      throw new Error(`${inside}: mounts must lie below /opt/devmesh/`);
    }
    const source = await realpath(hostPath);
    const found = await stat(source);
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
