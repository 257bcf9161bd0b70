/** What a run with every kind of sandbox has beside its platform: an engine, a guest, and what to strike of them. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ensureGuest } from "../deploy/guest/ensure-guest.ts";
import { ChaosEngine } from "./engine.ts";
import type { ChaosIsolation } from "./options.ts";
import { isMachine, ownPaths } from "./own-paths.ts";
import { type FoundProcess, processesOf } from "./processes.ts";
import type { Random } from "./random.ts";

/** Kinds of strikes on what sandboxes are made of. */
export const sandboxStrikes = ["shim", "engine", "qemu", "bwrap", "delete"] as const;

/** One of them. */
export type SandboxStrike = (typeof sandboxStrikes)[number];

/** The sandbox hosts as a strike finds them. */
export interface SandboxHosts {
  readonly ports: readonly number[];
  readonly serviceToken: string;
  /** Their folders. */
  readonly stateDirs: readonly string[];
}

/** What a sandbox is in when its removal is asked for. */
const deleteStates = ["running", "frozen", "removing", "broken"] as const;

/** The longest wait for something to strike, in milliseconds. */
const patienceMs = 4_000;

/** The longest that a removal may take. */
const deleteLimitMs = 10_000;

/** The parts of sandboxes that one run has, and which may be struck. */
export class SandboxParts {
  /** What the platform's parts are started with. */
  readonly env: Readonly<Record<string, string>>;
  /** Those that jobs may ask for. */
  readonly isolations: readonly ChaosIsolation[];
  /** Removals that took too long or failed. */
  readonly stuck: string[] = [];
  /** Removals that were asked for, by the state that the sandbox was in. */
  readonly deletes: Record<string, number> = {};
  /** The longest of them, in milliseconds. */
  slowestDeleteMs = 0;
  #engine: ChaosEngine | undefined;
  readonly #folder: string;

  private constructor(
    folder: string,
    env: Record<string, string>,
    isolations: ChaosIsolation[],
    engine: ChaosEngine | undefined,
  ) {
    this.#folder = folder;
    this.env = env;
    this.isolations = isolations;
    this.#engine = engine;
  }

  /** Finds and starts what is wanted and this host can have; what it cannot is told, and done without. */
  static async start(
    folder: string,
    wanted: readonly ChaosIsolation[],
    log: (line: string) => void,
  ): Promise<SandboxParts> {
    const env: Record<string, string> = {};
    const isolations: ChaosIsolation[] = ["process"];
    const drivers = ["process"];
    const home = join(folder, "engine");
    mkdirSync(home);
    const engine = wanted.includes("container") ? await ChaosEngine.start(home, log) : undefined;
    if (engine?.ok === true) {
      drivers.push("docker");
      isolations.push("container");
      env.DOCKER_HOST = `unix://${engine.value.socketPath}`;
      env.DOCKER_IMAGE = engine.value.image;
    } else if (engine !== undefined) {
      log(`without containers: ${engine.reason}`);
    }
    const guest = wanted.includes("vm") ? await ensureGuest({ log }) : undefined;
    if (guest?.ok === true) {
      drivers.push("qemu");
      isolations.push("vm");
      env.VM_GUEST_DIR = guest.value.guestDir;
      env.QEMU_BINARY = guest.value.binary;
    } else if (guest !== undefined) {
      log(`without VMs: ${guest.reason}`);
    }
    env.SANDBOX_DRIVERS = drivers.join(",");
    // A virtual machine that boots on a busy host must not cost its runner the leases.
    env.LEASE_TTL_MS = "6000";
    // Often enough that a run sees sweeps.
    env.RECONCILE_INTERVAL_MS = "2000";
    const found = engine?.ok === true ? engine.value : undefined;
    return new SandboxParts(folder, env, isolations, found);
  }

  /**
   * Strikes one thing of a kind, or of the kinds after it where there is none; answers which and
   * what it did. Undefined: there was nothing at all.
   */
  async strike(
    kind: SandboxStrike,
    hosts: SandboxHosts,
    random: Random,
  ): Promise<{ readonly kind: SandboxStrike; readonly what: string } | undefined> {
    const at = sandboxStrikes.indexOf(kind);
    for (const next of [...sandboxStrikes.slice(at), ...sandboxStrikes.slice(0, at)]) {
      const what = await this.#strike(next, hosts, random.fork(next));
      if (what !== undefined) return { kind: next, what };
    }
    return undefined;
  }

  async #strike(
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
        if (!this.isolations.includes("vm")) return undefined;
        return kill("a virtual machine", await this.#untilThere(hosts, isMachine), random);
      case "bwrap":
        return kill("bubblewrap", await this.#untilThere(hosts, isBubblewrap), random);
      case "delete":
        return this.#delete(hosts, random);
    }
  }

  /** Removes every sandbox that is still there, and tells which could not be removed. */
  async deleteAll(hosts: SandboxHosts): Promise<void> {
    for (const port of hosts.ports) {
      for (const id of await list(port, hosts.serviceToken).catch(() => [])) {
        await this.#deleteOne(port, hosts.serviceToken, id, "at the end");
      }
    }
  }

  /** What the engine still has, a line each; the engine is gone afterwards. Nothing the second time. */
  async close(): Promise<string[]> {
    const engine = this.#engine;
    this.#engine = undefined;
    if (engine === undefined) return [];
    try {
      return await engine.left();
    } finally {
      await engine.stop();
    }
  }

  /** Programs of that kind; waits some seconds for the first. */
  async #untilThere(hosts: SandboxHosts, is: (commandLine: string) => boolean): Promise<number[]> {
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      const found = this.#programs(hosts).filter(({ commandLine }) => is(commandLine));
      if (found.length > 0 || performance.now() > untilMs) return found.map(({ pid }) => pid);
      await delay(100);
    }
  }

  #programs({ stateDirs }: SandboxHosts): FoundProcess[] {
    return processesOf(ownPaths(this.#folder, stateDirs)).filter(({ commandLine }) =>
      /\b(sbx|own)_/.test(commandLine),
    );
  }

  /** A sandbox is removed from under its job, out of a state that is drawn. */
  async #delete(hosts: SandboxHosts, random: Random): Promise<string | undefined> {
    const { ports, serviceToken: token } = hosts;
    const port = random.pick(ports);
    const ids = await list(port, token).catch(() => []);
    if (ids.length === 0) return undefined;
    const id = random.pick(ids);
    let state = random.pick(deleteStates);
    if (state === "frozen") {
      const frozen = call(port, token, "POST", `/v1/sandboxes/${id}:freeze`, deleteLimitMs);
      // Its job has ended, or it is not well: it is removed as it is.
      if (!(await frozen.then(({ ok }) => ok).catch(() => false))) state = "running";
    }
    if (state === "broken") {
      const own = this.#programs(hosts).filter(({ commandLine }) => commandLine.includes(id));
      if (
        kill(
          "",
          own.map(({ pid }) => pid),
          random,
        ) === undefined
      )
        state = "running";
    }
    const removals = state === "removing" ? 2 : 1;
    await Promise.all(
      Array.from({ length: removals }, () => this.#deleteOne(port, token, id, state)),
    );
    return `${id} (${state}) removed from under its job`;
  }

  async #deleteOne(port: number, token: string, id: string, state: string): Promise<void> {
    this.deletes[state] = (this.deletes[state] ?? 0) + 1;
    const began = performance.now();
    const took = () => performance.now() - began;
    try {
      const answer = await call(port, token, "DELETE", `/v1/sandboxes/${id}`, deleteLimitMs);
      this.slowestDeleteMs = Math.max(this.slowestDeleteMs, took());
      // 404: its job ended first. Above: its host is not well.
      if (answer.ok || answer.status === 404) return;
      this.stuck.push(`${id}: its removal was answered by ${answer.status}`);
    } catch (error) {
      // A host that is struck in the middle cuts the call: its next start removes the sandbox.
      if (took() < deleteLimitMs) return;
      this.stuck.push(`${id}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function isBubblewrap(commandLine: string): boolean {
  return /bwrap$/.test(commandLine.split(" ")[0] ?? "");
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
