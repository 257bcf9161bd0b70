/** What a run with every kind of sandbox has beside its platform: an engine, a guest, and what to strike of them. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { IsolationName } from "@devmesh/sdk";
import { ensureGuest } from "../deploy/guest/ensure-guest.ts";
import { ChaosEngine } from "./engine.ts";
import { processesWith } from "./processes.ts";
import type { Random } from "./random.ts";

/** Kinds of strikes on what sandboxes are made of. */
export const sandboxStrikes = ["shim", "engine", "qemu", "bwrap", "delete"] as const;

/** One of them. */
export type SandboxStrike = (typeof sandboxStrikes)[number];

/** The sandbox hosts as a strike finds them. */
export interface SandboxHosts {
  readonly ports: readonly number[];
  readonly serviceToken: string;
}

/** The longest that a removal may take. */
const deleteLimitMs = 10_000;

/** The parts of sandboxes that one run has, and which may be struck. */
export class SandboxParts {
  /** What the platform's parts are started with. */
  readonly env: Readonly<Record<string, string>>;
  /** Those that jobs may ask for. */
  readonly isolations: readonly IsolationName[];
  /** Removals that took too long or failed. */
  readonly stuck: string[] = [];
  /** Removals that were asked for. */
  deletes = 0;
  #engine: ChaosEngine | undefined;
  readonly #folder: string;

  private constructor(
    folder: string,
    env: Record<string, string>,
    isolations: IsolationName[],
    engine: ChaosEngine | undefined,
  ) {
    this.#folder = folder;
    this.env = env;
    this.isolations = isolations;
    this.#engine = engine;
  }

  /** Finds and starts what this host can have; what it cannot is told, and done without. */
  static async start(folder: string, log: (line: string) => void): Promise<SandboxParts> {
    const env: Record<string, string> = {};
    const isolations: IsolationName[] = ["process"];
    const drivers = ["process"];
    const home = join(folder, "engine");
    mkdirSync(home);
    const engine = await ChaosEngine.start(home, log);
    if (engine.ok) {
      drivers.push("docker");
      isolations.push("container");
      env.DOCKER_HOST = `unix://${engine.value.socketPath}`;
      env.DOCKER_IMAGE = engine.value.image;
    } else {
      log(`without containers: ${engine.reason}`);
    }
    const guest = await ensureGuest({ log });
    if (guest.ok) {
      drivers.push("qemu");
      isolations.push("vm");
      env.VM_GUEST_DIR = guest.value.guestDir;
      env.QEMU_BINARY = guest.value.binary;
    } else {
      log(`without VMs: ${guest.reason}`);
    }
    env.SANDBOX_DRIVERS = drivers.join(",");
    // A virtual machine that boots on a busy host must not cost its runner the leases.
    env.LEASE_TTL_MS = "6000";
    // Often enough that a run sees sweeps.
    env.RECONCILE_INTERVAL_MS = "2000";
    return new SandboxParts(folder, env, isolations, engine.ok ? engine.value : undefined);
  }

  /** Strikes one thing of a kind; answers what it did, or undefined where there was none. */
  async strike(
    kind: SandboxStrike,
    hosts: SandboxHosts,
    random: Random,
  ): Promise<string | undefined> {
    switch (kind) {
      case "engine":
        if (this.#engine === undefined) return undefined;
        await this.#engine.kill();
        return "SIGKILL to the engine";
      case "shim":
        return kill("a container's shim", this.#engine?.shims() ?? [], random);
      case "qemu":
        return kill("a virtual machine", this.#programs(/qemu-system/), random);
      case "bwrap":
        return kill("bubblewrap", this.#programs(/bwrap/), random);
      case "delete":
        return this.#delete(hosts, random);
    }
  }

  /** Removes every sandbox that is still there, and tells which could not be removed. */
  async deleteAll(hosts: SandboxHosts): Promise<void> {
    for (const port of hosts.ports) {
      for (const id of await list(port, hosts.serviceToken).catch(() => [])) {
        await this.#deleteOne(port, hosts.serviceToken, id);
      }
    }
  }

  /** What the engine still has, a line each; the engine is gone afterwards. Nothing the second time. */
  async close(): Promise<string[]> {
    const engine = this.#engine;
    this.#engine = undefined;
    if (engine === undefined) return [];
    try {
      const left = await engine.left();
      return Object.entries(left).flatMap(([kind, count]) =>
        count === 0 ? [] : [`${kind.slice(0, -1)} ${count} in the engine`],
      );
    } finally {
      await engine.stop();
    }
  }

  #programs(name: RegExp): number[] {
    return processesWith(this.#folder)
      .filter(({ commandLine }) => name.test(commandLine.split(" ")[0] ?? ""))
      .filter(({ commandLine }) => commandLine.includes("sbx_"))
      .map(({ pid }) => pid);
  }

  async #delete({ ports, serviceToken }: SandboxHosts, random: Random) {
    const port = random.pick(ports);
    const ids = await list(port, serviceToken).catch(() => []);
    if (ids.length === 0) return undefined;
    const id = random.pick(ids);
    await this.#deleteOne(port, serviceToken, id);
    return `${id} removed from under its job`;
  }

  async #deleteOne(port: number, token: string, id: string): Promise<void> {
    this.deletes += 1;
    const began = performance.now();
    try {
      const answer = await call(port, token, "DELETE", `/v1/sandboxes/${id}`, deleteLimitMs);
      // 404: its job ended first. Above: its host was struck meanwhile, or is not well.
      if (answer.ok || answer.status === 404) return;
      this.stuck.push(`${id}: its removal was answered by ${answer.status}`);
    } catch (error) {
      const took = performance.now() - began;
      // A host that is struck in the middle cuts the call: its next start removes the sandbox.
      if (took < deleteLimitMs) return;
      this.stuck.push(`${id}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

async function list(port: number, token: string): Promise<string[]> {
  const answer = await call(port, token, "GET", "/v1/sandboxes", 5_000);
  const body = (await answer.json()) as { sandboxes?: { id: string }[] };
  return (body.sandboxes ?? []).map(({ id }) => id);
}

function call(port: number, token: string, method: string, path: string, limitMs: number) {
  return fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(limitMs),
  });
}

function kill(what: string, pids: readonly number[], random: Random): string | undefined {
  if (pids.length === 0) return undefined;
  const pid = random.pick(pids);
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
  return `SIGKILL to ${what} (process ${pid})`;
}

/** The token that a platform's services share. */
export function serviceTokenOf(dataDir: string): string {
  return readFileSync(join(dataDir, "service.token"), "utf8").trim();
}
