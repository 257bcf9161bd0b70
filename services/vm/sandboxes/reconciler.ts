/**
 * Holds the host to what the journals say: what no living process owns is
 * removed, at the start and from time to time. How each kind of thing is found
 * is left to the finders.
 */
import { mkdir, readdir, readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import { isAlive, parseOwner } from "../drivers/owner.ts";
import type { Host } from "./host.ts";
import type { Journal } from "./journal.ts";
import type { Leftover, LeftoverFinder, LeftoverKind } from "./leftover.ts";

/** What the reconciler works with. */
export interface ReconcilerOptions {
  readonly host: Host;
  readonly journal: Journal;
  /** In the order in which their finds are removed: users before what they use. */
  readonly finders: readonly LeftoverFinder[];
  readonly stateDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time between two sweeps, in milliseconds. 0: only when asked. */
  readonly intervalMs: number;
}

/** On a host on which nothing happens, only each so manieth sweep of the timer looks at all of it. */
const quietSweeps = 10;

/** One thing that a sweep found. */
export interface Found {
  readonly kind: LeftoverKind;
  readonly name: string;
  readonly sandboxId: string;
  readonly removed: boolean;
  /** Why it could not be removed. Empty: it was, or nobody tried. */
  readonly detail: string;
}

/** What a sweep did. */
export interface Sweep {
  readonly atMs: number;
  readonly dryRun: boolean;
  /** Sandboxes that the drivers removed by themselves. */
  readonly reaped: readonly string[];
  readonly found: readonly Found[];
}

/** Sweeps one host. */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #stopped = new AbortController();
  #sweeping: Promise<unknown> = Promise.resolve();
  #last: Sweep | undefined;
  #removed = 0;
  /** The journal's intents when the last sweep looked at all; undefined: it must be looked at. */
  #lookedAt: number | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** The last sweep that removed, not only looked. */
  get last(): Sweep | undefined {
    return this.#last;
  }

  /** How many things all sweeps of this process have removed. */
  get removed(): number {
    return this.#removed;
  }

  /** Sweeps from time to time, until `close`. */
  start(): void {
    const { clock, intervalMs, logger } = this.#options;
    const { signal } = this.#stopped;
    if (intervalMs === 0) return;
    const forever = async () => {
      for (let count = 1; !signal.aborted; count++) {
        await clock.sleep(intervalMs, signal);
        const mayRest = count % quietSweeps !== 0;
        const sweep = this.#queue(() => this.#sweep(false, mayRest));
        await sweep.catch((err) => logger.warn({ err }, "a sweep of the host failed"));
      }
    };
    forever().catch(() => {
      // The stop's signal ended the sleep.
    });
  }

  /** Looks for what has no owner, and removes it unless it shall only be told. One at a time. */
  sweep({ dryRun = false }: { readonly dryRun?: boolean } = {}): Promise<Sweep> {
    return this.#queue(() => this.#sweep(dryRun, false));
  }

  /** Waits for the sweep that is on its way; there is none after it. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#sweeping;
  }

  #queue(run: () => Promise<Sweep>): Promise<Sweep> {
    const sweep = this.#sweeping.then(run);
    this.#sweeping = sweep.catch(() => {});
    return sweep;
  }

  /** `mayRest`: nothing is looked for where nothing was made, removed or left since it was. */
  async #sweep(dryRun: boolean, mayRest: boolean): Promise<Sweep> {
    const { host, journal, clock, logger } = this.#options;
    await mkdir(this.#options.stateDir, { recursive: true });
    const stateDir = await realpath(this.#options.stateDir);
    const reaped = dryRun ? [] : [...(await host.removeAgain()), ...(await host.reap())];
    const earlier = await journal.earlier();
    const { intents } = journal;
    const isQuiet = earlier.length === 0 && journal.open.size === 0 && reaped.length === 0;
    const finders = mayRest && isQuiet && this.#lookedAt === intents ? [] : this.#options.finders;
    const orphaned = new Set(earlier.flatMap(({ open }) => open.map(({ id }) => id)));
    const found: Found[] = [];
    // What was owned when the sweep began and is no more is being removed by its owner.
    const living = await this.#livingIds(stateDir);
    let isWhole = true;
    for (const finder of finders) {
      // Asked before the owners are: what is new by then has a living one.
      const there = await this.#find(finder, stateDir, orphaned);
      if (there === undefined) {
        isWhole = false;
        continue;
      }
      for (const id of there.length > 0 ? await this.#livingIds(stateDir) : []) living.add(id);
      for (const leftover of there) {
        if (!living.has(leftover.sandboxId)) found.push(await this.#remove(leftover, dryRun));
      }
    }
    const left = new Set(found.filter(({ removed }) => !removed).map(({ sandboxId }) => sandboxId));
    if (!dryRun && isWhole) {
      for (const { open, forget } of earlier) {
        if (!open.some(({ id }) => left.has(id))) await forget();
      }
    }
    const isSettled = isWhole && found.length === 0;
    if (finders.length > 0) this.#lookedAt = isSettled ? intents : undefined;
    const sweep = { atMs: clock.now(), dryRun, reaped, found };
    if (!dryRun) {
      this.#last = sweep;
      this.#removed += reaped.length + found.filter(({ removed }) => removed).length;
    }
    if (found.length > 0 && !dryRun) {
      logger.warn({ found }, "things without an owner were found on the host");
    }
    return sweep;
  }

  /** `undefined`: it is not known what there is of this kind. */
  async #find(
    finder: LeftoverFinder,
    stateDir: string,
    orphaned: ReadonlySet<string>,
  ): Promise<Leftover[] | undefined> {
    try {
      return await finder.find({ stateDir, orphaned });
    } catch (err) {
      // Such a host has none: no `/proc`, no loop devices, no engine's socket.
      if (err instanceof Error && "code" in err && err.code === "ENOENT") return [];
      this.#options.logger.debug({ kind: finder.kind, err }, "a kind could not be looked for");
      return undefined;
    }
  }

  async #remove(leftover: Leftover, dryRun: boolean): Promise<Found> {
    const { kind, name, sandboxId } = leftover;
    const row = { kind, name, sandboxId, removed: false, detail: "" };
    if (dryRun) return row;
    try {
      await leftover.remove();
      return { ...row, removed: true };
    } catch (error) {
      return { ...row, detail: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Sandboxes of this process, and of others that live and share the state folder. */
  async #livingIds(stateDir: string): Promise<Set<string>> {
    const { host, journal } = this.#options;
    return new Set([
      ...host.sandboxes().map(({ id }) => id),
      ...journal.open.keys(),
      ...(await journal.othersOpen()),
      ...(await noted(stateDir)),
    ]);
  }
}

/** Sandboxes whose folder has the note of a living process: those of probes and of warm pools too. */
async function noted(stateDir: string): Promise<string[]> {
  const ids: string[] = [];
  for (const room of await readdir(stateDir, { withFileTypes: true })) {
    if (!room.isDirectory()) continue;
    const folder = join(stateDir, room.name);
    for (const name of await readdir(folder).catch(() => [])) {
      const id = /^(sbx_\w+)(\.owner)?$/.exec(name)?.[1];
      if (id === undefined) continue;
      const path = name.endsWith(".owner") ? join(folder, name) : join(folder, name, "owner");
      const owner = parseOwner(await readFile(path, "utf8").catch(() => ""));
      if (owner !== undefined && (await isAlive(owner))) ids.push(id);
    }
  }
  return ids;
}
