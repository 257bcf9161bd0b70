/** Strikes parts of a platform at seeded moments: kills, standstills, cut connections. */
import { setTimeout as delay } from "node:timers/promises";
import type { History } from "./history.ts";
import { sandboxFolders } from "./leftovers.ts";
import type { Part } from "./part.ts";
import { type ChaosPlatform, leaseTtlMs } from "./platform.ts";
import { processesWith } from "./processes.ts";
import type { Random } from "./random.ts";
import { type SandboxParts, sandboxStrikes } from "./sandboxes.ts";

/** What the killer needs. */
export interface KillerOptions {
  readonly platform: ChaosPlatform;
  readonly history: History;
  readonly random: Random;
  /** The run's id: the jobs' processes have it in their tag. */
  readonly run: string;
  readonly kills: number;
  readonly minutes: number;
  /** What sandboxes are made of; absent: they are let be. */
  readonly sandboxParts?: SandboxParts | undefined;
  /** The tags of jobs that are under way. */
  readonly active: () => Iterable<string>;
  /** Takes one line for each strike. */
  readonly tell: (line: string) => void;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** What was struck how often, by part. */
export interface Strikes {
  readonly killed: Record<string, number>;
  readonly stalled: Record<string, number>;
  /** Database connections. */
  cut: number;
}

/** How long a part may take to serve, and the load to go on, before the next strike, in milliseconds. */
const patienceMs = 4_000;

/** How long a part that went on has to tell what it holds, in milliseconds. */
const afterStallMs = 800;

type Action = "kill" | "kill-early" | "kill-program" | "kill-sandbox" | "stall" | "cut";

/** Ends when the kills or the minutes are used up. */
export class Killer {
  readonly #options: KillerOptions;
  readonly #startedMs = performance.now();
  #count = 0;
  /** Acknowledgements at the last strike. */
  #seen = 0;
  readonly #stalls = new Set<Promise<void>>();
  /** Parts that stand still, or have just gone on: they are let be until they have told what they hold. */
  readonly #standing = new Set<Part>();
  readonly strikes: Strikes = { killed: {}, stalled: {}, cut: 0 };
  /** Every sandbox that was there when something was struck. */
  readonly sandboxes = new Set<string>();

  constructor(options: KillerOptions) {
    this.#options = options;
  }

  get kills(): number {
    return Object.values(this.strikes.killed).reduce((sum, count) => sum + count, 0);
  }

  /** Strikes until it is enough; every part serves again when it resolves. */
  async run(): Promise<void> {
    const { random, kills, minutes, signal, platform } = this.#options;
    const untilMs = this.#startedMs + minutes * 60_000;
    while (this.kills < kills && performance.now() < untilMs && !signal.aborted) {
      const action = drawAction(random, {
        cut: platform.cut !== undefined,
        sandbox: this.#options.sandboxParts !== undefined,
      });
      const part = this.#next(random.pick(action === "stall" ? platform.runners : platform.parts));
      if (part === undefined) {
        await this.#rest(afterStallMs);
        continue;
      }
      if (action !== "kill-early") await this.#untilReady(part);
      await this.#rest(restMs(random, action));
      if (action !== "kill-early") await this.#untilProgress();
      if (!signal.aborted) await this.#strike(action, part);
    }
    await Promise.all(this.#stalls);
    for (const part of platform.parts) await part.untilReady();
  }

  /** The part that was drawn, or the one after it that does not stand still. */
  #next(drawn: Part): Part | undefined {
    const { parts } = this.#options.platform;
    const at = parts.indexOf(drawn);
    const inTurn = [...parts.slice(at), ...parts.slice(0, at)];
    return inTurn.find((part) => !this.#standing.has(part));
  }

  /** Among others a part that is slow to start is struck while it starts. */
  async #untilReady(part: Part): Promise<void> {
    const ready = part.untilReady();
    const impatient = new AbortController();
    const { signal } = impatient;
    // The one that loses is no failure.
    const waited = delay(patienceMs, undefined, { signal }).catch(() => {});
    await Promise.race([ready, waited]);
    impatient.abort();
  }

  /** Kills prove little on a machine too slow for the load: something is acknowledged in between. */
  async #untilProgress(): Promise<void> {
    const { history, signal } = this.#options;
    const untilMs = performance.now() + patienceMs;
    while (history.acknowledgements === this.#seen && !signal.aborted) {
      if (performance.now() > untilMs) return;
      await this.#rest(20);
    }
    this.#seen = history.acknowledgements;
  }

  async #rest(ms: number): Promise<void> {
    const { signal } = this.#options;
    await delay(ms, undefined, { signal }).catch(() => {
      // Told to end: the loops' conditions say so.
    });
  }

  async #strike(action: Action, part: Part): Promise<void> {
    this.#count += 1;
    // What is found differs from run to run, and must not change the choices that follow.
    const random = this.#options.random.fork(`strike-${this.#count}`);
    for (const id of sandboxFolders(this.#options.platform.stateDirs)) this.sandboxes.add(id);
    switch (action) {
      case "kill":
      case "kill-early":
        this.#note(part.name, "kill", "SIGKILL");
        await part.kill();
        return;
      case "kill-program":
        this.#killProgram(random);
        return;
      case "kill-sandbox":
        await this.#killSandbox(random);
        return;
      case "stall":
        this.#stall(part, random);
        return;
      case "cut": {
        const count = (await this.#options.platform.cut?.(random)) ?? 0;
        this.strikes.cut += count;
        this.#note("postgres", "cut", `${count} connections cut`);
      }
    }
  }

  /** One process of one job: bubblewrap or what runs in it. */
  #killProgram(random: Random): void {
    const { run, history } = this.#options;
    const marker = `chaos-${run}-`;
    const found = processesWith(marker).flatMap((one) => {
      const tag = new RegExp(`${marker}[\\w-]+`).exec(`${one.commandLine} ${one.environment}`)?.[0];
      return tag === undefined ? [] : [{ pid: one.pid, tag }];
    });
    if (found.length === 0) return;
    const { pid, tag } = random.pick(found);
    // Noted before: its job may end otherwise from now on.
    history.add({ kind: "program-killed", tag });
    this.#note("program", "kill", `SIGKILL to process ${pid} of ${tag}`);
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }

  /** Something that sandboxes are made of. Whose it is cannot be told: each job under way may fail of it. */
  async #killSandbox(random: Random): Promise<void> {
    const { sandboxParts, platform, history, active } = this.#options;
    const kind = random.pick(sandboxStrikes);
    for (const tag of active()) history.add({ kind: "program-killed", tag });
    const before = history.entries.length;
    const struck = await sandboxParts?.strike(kind, platform.hosts, random);
    // Those that began while it went on, ended ones too: an engine that is away fails them at once.
    for (const entry of history.entries.slice(before)) {
      if (entry.kind === "asked") history.add({ kind: "program-killed", tag: entry.work.tag });
    }
    if (struck !== undefined) this.#note(struck.kind, "kill", struck.what);
  }

  /** Longer than a lease lives; mostly shorter than a runner's own patience, so that it writes. */
  #stall(part: Part, random: Random): void {
    const { signal } = this.#options;
    const lives = random.chance(0.8) ? 1.3 + random.next() * 0.6 : 2.2 + random.next();
    const ms = Math.round(leaseTtlMs * lives);
    this.#note(part.name, "stall", `SIGSTOP for ${ms} ms`);
    this.#standing.add(part);
    const stall = part.stall(ms, signal).then(() => this.#rest(afterStallMs));
    this.#stalls.add(stall);
    stall.finally(() => {
      this.#stalls.delete(stall);
      this.#standing.delete(part);
    });
  }

  #note(part: string, action: "kill" | "stall" | "cut", what: string): void {
    const { history, tell } = this.#options;
    const atMs = Math.round(performance.now() - this.#startedMs);
    history.add({ kind: "struck", part, action, atMs });
    const { killed, stalled } = this.strikes;
    if (action === "kill") killed[part] = (killed[part] ?? 0) + 1;
    else if (action === "stall") stalled[part] = (stalled[part] ?? 0) + 1;
    const number = action === "kill" ? `kill ${this.kills}` : action;
    tell(
      `${(atMs / 1000).toFixed(1).padStart(7)} s  ${number.padEnd(9)} ${part.padEnd(9)} ${what}`,
    );
  }
}

function drawAction(random: Random, can: { cut: boolean; sandbox: boolean }): Action {
  if (can.sandbox && random.chance(0.5)) return "kill-sandbox";
  const draw = random.next();
  if (draw < 0.12) return "kill-early";
  if (draw < 0.27) return "kill-program";
  if (draw < 0.37) return "stall";
  if (draw < 0.43 && can.cut) return "cut";
  return "kill";
}

/** How long a part works before it is struck: often hardly, sometimes long enough for whole jobs. */
function restMs(random: Random, action: Action): number {
  if (action === "kill-early") return random.integer(0, 800);
  const draw = random.next();
  if (draw < 0.2) return random.integer(0, 200);
  if (draw < 0.75) return random.integer(200, 1_000);
  return random.integer(1_000, 2_500);
}
