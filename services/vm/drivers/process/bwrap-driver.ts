/**
 * Sandboxes of bubblewrap: Linux namespaces, no image and no engine. Making and
 * removing them lies here; what runs in one is left to its resident.
 */
import { randomInt } from "node:crypto";
import { mkdir, realpath, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Cgroup } from "../cgroup.ts";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { startFailed } from "../driver-errors.ts";
import { requireReceipt } from "../receipt-check.ts";
import { ResidentSandbox } from "../resident/resident-sandbox.ts";
import { leftovers } from "../sandbox-folders.ts";
import { checkDoors, checkMounts, checkSpec } from "../spec-check.ts";
import { bindAll, isReachableByAll, type StagedBind } from "../work-disk.ts";
import { openCage } from "./bwrap-cage.ts";
import { etcArguments, findHost, type ProcessHost } from "./host.ts";
import { isReadyPlace, PlaceStock } from "./place-stock.ts";
import {
  makePlace,
  ownPlace,
  removePlace,
  renamePlace,
  reservePlace,
  type SandboxPlace,
} from "./sandbox-place.ts";
import { endStrays } from "./strays.ts";

/** What a driver of bubblewrap is made of. */
export interface BwrapDriverOptions {
  /** Where its sandboxes' folders lie. Made if it is not there. */
  readonly stateDir: string;
  /** Default: `bwrap`, looked up on the PATH. */
  readonly bwrap?: string;
  /** How many disks of a size are kept ready once one was asked for; `close` lets them go. Default: 0. */
  readonly readyDisks?: number;
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
  readonly #stock: PlaceStock;
  #host: Promise<ProcessHost> | undefined;

  constructor(options: BwrapDriverOptions) {
    this.#options = options;
    this.#stock = new PlaceStock(options.readyDisks ?? 0);
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
      const sandbox = await this.#create(spec, false, limit);
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

  create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    return this.#create(spec, true, signal);
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
    return ids.filter((id) => !isReadyPlace(id));
  }

  close(): Promise<void> {
    return this.#stock.close();
  }

  /** `stocks`: whether more of its kind are to be expected. */
  async #create(spec: SandboxSpec, stocks: boolean, signal?: AbortSignal): Promise<Sandbox> {
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    checkSpec(spec);
    const user = process.getuid?.() === 0 ? this.#takeUser() : undefined;
    let tidy = async () => {};
    try {
      const host = await this.#findHost();
      await reservePlace(host, spec.id);
      tidy = () => this.#remove(host, spec.id);
      const sandbox = await this.#make(host, spec, user, signal);
      if (stocks) this.#stock.want(host, spec.limits.diskMib);
      this.#sandboxes.set(spec.id, sandbox);
      return sandbox;
    } catch (error: unknown) {
      await tidy();
      if (user !== undefined) this.#usersTaken.delete(user);
      throw startFailed(this.name, error, signal);
    }
  }

  async #make(
    host: ProcessHost,
    spec: SandboxSpec,
    user: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Sandbox> {
    checkMounts(this.name, spec.mounts);
    await checkDoors(this.name, spec.doors);
    const [place, cgroup] = await bothDone(
      this.#place(host, spec, user),
      host.cgroups?.create(spec.id, spec.limits),
    );
    const binds = await stage(place.reach, spec, user);
    signal?.throwIfAborted();
    const { disk, etc } = place;
    const cage = await openCage({
      ...{ host, spec, user, cgroup, disk },
      layout: { limits: spec.limits, system: [...host.system, ...etcArguments(etc)], disk, binds },
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

  async #place(
    host: ProcessHost,
    { id, limits: { diskMib } }: SandboxSpec,
    user: number | undefined,
  ): Promise<SandboxPlace> {
    const ready = this.#stock.take(diskMib);
    try {
      const place = await (ready === undefined
        ? makePlace(host, id, diskMib)
        : renamePlace(host, ready, id));
      await ownPlace(place, user);
      return place;
    } catch (error: unknown) {
      if (ready !== undefined) await removePlace(host, ready);
      throw error;
    }
  }

  /** Removes what there is of a sandbox that was killed. */
  async #remove(host: ProcessHost, id: string): Promise<void> {
    await host.cgroups?.open(id).remove();
    await removePlace(host, id);
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
  place: Promise<SandboxPlace>,
  cgroup: Promise<Cgroup> | undefined,
): Promise<[SandboxPlace, Cgroup | undefined]> {
  const [first, second] = await Promise.allSettled([place, cgroup]);
  if (first.status === "rejected") throw first.reason;
  if (second.status === "rejected") throw second.reason;
  return [first.value, second.value];
}

/**
 * Finds for each mount the path by which the sandbox's user reaches
 * it: its own, or a bind that is made below the sandbox's folder where the way to
 * it is closed for others.
 */
async function stage(
  folder: string,
  spec: SandboxSpec,
  user: number | undefined,
): Promise<Map<string, string>> {
  const binds = new Map<string, string>();
  const staged: StagedBind[] = [];
  for (const { sandboxPath: inside, hostPath } of spec.mounts) {
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
  await bindAll(staged);
  return binds;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
