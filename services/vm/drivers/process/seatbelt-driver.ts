/**
 * Sandboxes of macOS's own Seatbelt, by profiles of `@anthropic-ai/sandbox-runtime`.
 * Weaker than those of Linux: it refuses where that is not accepted, or where a
 * trial inside shows that a profile does not hold.
 */
import { randomBytes, randomInt } from "node:crypto";
import { mkdir, realpath, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { DriverProbe, Sandbox, SandboxDriver, SandboxSpec } from "../driver.ts";
import { failedProbe, startFailed, unavailable } from "../driver-errors.ts";
import { requireReceipt } from "../receipt-check.ts";
import { runTool } from "../run-tool.ts";
import { forgetSandboxFolder, leftovers, makeSandboxFolder } from "../sandbox-folders.ts";
import { checkDoors, checkMounts, checkSpec } from "../spec-check.ts";
import { loadSandboxRuntime, type RuntimeRules, type SandboxRuntime } from "./sandbox-runtime.ts";
import { openDoors } from "./seatbelt-doors.ts";
import { SeatbeltFamily } from "./seatbelt-family.ts";
import { SeatbeltPaths } from "./seatbelt-paths.ts";
import { SeatbeltSandbox } from "./seatbelt-sandbox.ts";
import { seatbeltReceipt, tryInside } from "./seatbelt-trial.ts";
import { SeatbeltWatch } from "./seatbelt-watch.ts";

/** What a Seatbelt driver is made of. */
export interface SeatbeltDriverOptions {
  /** Where its sandboxes' folders lie. Made if it is not there. */
  readonly stateDir: string;
  /** True if jobs may use all of the host's processors, which macOS cannot keep them from. */
  readonly acceptUnboundedCpu: boolean;
  /** Default: the real library. */
  readonly load?: () => Promise<SandboxRuntime>;
}

const shell = "/bin/sh";
const base = "process";

/** Makes sandboxes of Seatbelt. */
export class SeatbeltDriver implements SandboxDriver {
  readonly name = "process";
  readonly isolation = "process";
  readonly #options: SeatbeltDriverOptions;
  readonly #sandboxes = new Map<string, Sandbox>();
  #runtime: Promise<SandboxRuntime> | undefined;

  constructor(options: SeatbeltDriverOptions) {
    this.#options = options;
  }

  async probe(signal?: AbortSignal): Promise<DriverProbe> {
    const answer = { driver: this.name, isolation: this.isolation, engine } as const;
    const limits = { memoryMib: 64, cpuMillis: 1000, pids: 32, diskMib: 16 };
    const id = `sbx_probe${process.pid}x${randomInt(1_000_000)}`;
    try {
      const sandbox = await this.create(
        { id, jobId: "probe", limits, mounts: [], doors: [] },
        AbortSignal.any([AbortSignal.timeout(20_000), ...(signal ? [signal] : [])]),
      );
      await sandbox.delete();
      return { ...answer, available: true, reason: "", remedy: "" };
    } catch (error: unknown) {
      return failedProbe(answer, error, "use the docker driver");
    }
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    if (signal?.aborted) throw new DevmeshError("CANCELLED", "the start was cancelled");
    checkSpec(spec);
    let tidy = async () => {};
    try {
      this.#refuseWeaker();
      checkMounts(this.name, spec.mounts);
      await checkDoors(this.name, spec.doors);
      const runtime = await this.#findRuntime();
      const root = await this.#root();
      const folder = await makeSandboxFolder(root, spec.id);
      const family = new SeatbeltFamily(spec.id);
      const doors = join(root, "doors", randomBytes(16).toString("hex"));
      tidy = async () => {
        await family.end();
        await removeAll(root, spec.id, doors);
      };
      const [work, tmp] = [join(folder, "work"), join(folder, "tmp")];
      for (const path of [work, tmp]) await mkdir(path, { mode: 0o700 });
      const servers = await openDoors(doors, spec.doors);
      const close = tidy;
      tidy = async () => {
        for (const server of servers) server.close();
        await close();
      };
      const rules = this.#rules(root, spec, [work, tmp], join(root, "doors"));
      const wrap = async (line: string, abort?: AbortSignal) =>
        (await runtime.wrapWithSandboxArgv(line, shell, rules, abort)).argv;
      const trial = await tryInside(root, (line) => wrap(line, signal));
      const receipt = seatbeltReceipt(engine, spec.limits, trial);
      // The one member that an operator may accept as it is; every other must hold.
      const limits = { ...spec.limits, cpuMillis: receipt.cpuMillis.value };
      requireReceipt({ ...spec, limits }, receipt);
      signal?.throwIfAborted();
      const remove = async () => {
        for (const server of servers) server.close();
        await removeAll(root, spec.id, doors);
        this.#sandboxes.delete(spec.id);
      };
      const paths = new SeatbeltPaths(spec, { work, tmp, doors });
      const watch = new SeatbeltWatch(family, spec.limits, folder);
      const sandbox = new SeatbeltSandbox({ spec, receipt, paths, family, watch, wrap, remove });
      this.#sandboxes.set(spec.id, sandbox);
      return sandbox;
    } catch (error: unknown) {
      await tidy();
      throw startFailed(this.name, error, signal);
    }
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()];
  }

  async reap(): Promise<string[]> {
    const root = await this.#root();
    const ids = await leftovers(root);
    for (const id of ids) {
      await new SeatbeltFamily(id).end();
      await removeAll(root, id);
    }
    return ids;
  }

  async close(): Promise<void> {
    const runtime = this.#runtime;
    this.#runtime = undefined;
    await (await runtime)?.reset();
  }

  /** What this tier can never give here is said before anything is made. */
  #refuseWeaker(): void {
    if (process.getuid?.() === 0) {
      throw unavailable(
        "Seatbelt cannot give root's programs another user",
        "run devmesh as a user",
      );
    }
    if (!this.#options.acceptUnboundedCpu) {
      throw unavailable(
        "macOS cannot bound the processors of a process sandbox",
        "use the docker driver, or accept it by PROCESS_UNBOUNDED_CPU=true",
      );
    }
  }

  async #root(): Promise<string> {
    await mkdir(this.#options.stateDir, { recursive: true });
    const root = join(await realpath(this.#options.stateDir), base);
    await mkdir(join(root, "doors"), { recursive: true, mode: 0o700 });
    return root;
  }

  #findRuntime(): Promise<SandboxRuntime> {
    this.#runtime ??= this.#startRuntime();
    // A failure is not kept: what is missing may be installed meanwhile.
    this.#runtime.catch(() => {
      this.#runtime = undefined;
    });
    return this.#runtime;
  }

  async #startRuntime(): Promise<SandboxRuntime> {
    const runtime = await (this.#options.load ?? loadSandboxRuntime)();
    if (!runtime.isSupportedPlatform()) {
      throw unavailable(
        `sandbox-runtime does not know ${process.platform}`,
        "use the docker driver",
      );
    }
    const { errors } = runtime.checkDependencies();
    if (errors.length > 0) {
      throw unavailable(`sandbox-runtime misses: ${errors.join("; ")}`, "install what it misses");
    }
    // One list of sockets for the whole process: a sandbox's doors lie where only it is told.
    const root = await this.#root();
    await runtime.initialize({
      network: { ...nowhere, allowUnixSockets: [join(root, "doors")] },
      filesystem: { denyRead: hidden(root), allowWrite: [], denyWrite: [] },
    });
    return runtime;
  }

  #rules(
    root: string,
    { mounts }: SandboxSpec,
    own: readonly string[],
    doors: string,
  ): RuntimeRules {
    return {
      network: { ...nowhere, allowUnixSockets: [doors] },
      filesystem: {
        denyRead: hidden(root),
        allowRead: [...own, ...mounts.map(({ hostPath }) => hostPath)],
        allowWrite: [...own],
        denyWrite: [],
        allowGitConfig: true,
      },
    };
  }
}

const engine = "sandbox-runtime (Seatbelt), watched memory, processes and disk, unbounded CPU";

const nowhere = { allowedDomains: [], deniedDomains: [] };

/** What programs need not see: people's folders, other disks, temporary files, all of our state. */
function hidden(root: string): string[] {
  const homes = homedir();
  const shared =
    process.platform === "darwin" ? ["/Users", "/Volumes", "/private/var/folders"] : [];
  return [...new Set([dirname(root), homes, dirname(homes), tmpdir(), ...shared])].filter(
    (path) => path !== "/",
  );
}

async function removeAll(root: string, id: string, doors?: string): Promise<void> {
  // Folders that a program made unreadable for their owner.
  await runTool("chmod", ["-R", "u+rwX", join(root, id)]).catch(() => {});
  await rm(join(root, id), { recursive: true, force: true });
  if (doors !== undefined) await rm(doors, { recursive: true, force: true });
  await forgetSandboxFolder(root, id);
}
