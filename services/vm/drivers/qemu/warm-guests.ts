/**
 * Owns the guests that are kept ready: each restored ahead for a shape that was asked for, has
 * run a program with a job's rights, and stands still until it becomes one job's. Which guest
 * a sandbox gets is left to `qemu-driver.ts`.
 */
import { rm } from "node:fs/promises";
import { totalmem } from "node:os";
import type { GuestCaps, GuestFacts } from "../guest/guest-facts.ts";
import { runInGuest } from "../guest/guest-talk.ts";
import { signalProcess } from "../process-tree.ts";
import { type PoolMember, WarmPool } from "../warm-pool.ts";
import { within } from "../within.ts";
import type { Guest } from "./boot.ts";
import type { Ground, GuestMaker, GuestNeeds, GuestParts } from "./guest-maker.ts";
import { IdleTime } from "./idle-time.ts";
import { assignGuest, type GuestJob } from "./restore.ts";
import { keyOf, type SnapshotShape } from "./snapshot-shape.ts";

/** How guests are kept ready. */
export interface WarmGuestsOptions {
  readonly maker: GuestMaker;
  /** How many for each shape; 0: none. */
  readonly perShape: number;
  /** How many of all shapes. Default: 4. */
  readonly total?: number | undefined;
  /** How much memory they may have together. Default: a quarter of the host's. */
  readonly memoryMib?: number | undefined;
  /** How long one is kept. Default: ten minutes. */
  readonly keepMs?: number | undefined;
}

/** A guest that stands still, ready to become a job's. */
export interface WarmGuest extends PoolMember {
  readonly guest: Guest;
  readonly facts: GuestFacts;
  /** Its own on the host. */
  readonly folder: string;
}

/** What a guest is made by. */
interface Recipe extends GuestNeeds {
  readonly ground: Ground;
  readonly shape: SnapshotShape;
}

const defaultTotal = 4;
const defaultKeepMs = 600_000;
/** A start's first program ends within this, mostly; starts in a row come closer than this. */
const restMs = 500;
/** It stands still while somebody waits for something else. */
const makeLimitMs = 300_000;
/** Many times what it takes. */
const handOverLimitMs = 10_000;
const mib = 1 << 20;
/** Its loader, its shell and a program of theirs: what nearly every job begins with. */
const warmUpCommand = ["sh", "-c", "tar --version"];

/** The guests of one host that are kept ready. */
export class WarmGuests {
  readonly #maker: GuestMaker;
  readonly #pool: WarmPool<Recipe, WarmGuest>;
  readonly #idle = new IdleTime(restMs);
  readonly #closed = new AbortController();
  /** One is made at a time. */
  #line: Promise<unknown> = Promise.resolve();

  constructor(options: WarmGuestsOptions) {
    const { maker, perShape, total = defaultTotal, keepMs = defaultKeepMs } = options;
    const most = options.memoryMib ?? Math.floor(totalmem() / mib / 4);
    this.#maker = maker;
    this.#pool = new WarmPool({
      ...{ perShape, total, keepMs },
      readyOnly: true,
      room: { most, of: ({ shape }) => shape.memoryMib },
      make: (recipe) => this.#inLine(() => this.#make(recipe)),
      drop,
    });
  }

  /** Makes a sandbox; none is made ready meanwhile. */
  creation<T>(work: () => Promise<T>): Promise<T> {
    return this.#idle.busy(work);
  }

  /** One of that shape, the caller's from now on; `undefined`: none is ready. */
  async take(
    ground: Ground,
    { limits, mounts }: GuestNeeds,
    { shape }: GuestParts,
  ): Promise<WarmGuest | undefined> {
    this.#pool.forget((recipe) => isOlder(recipe.shape, shape));
    return await this.#pool.take(keyOf(shape), { ground, shape, limits, mounts });
  }

  /**
   * Lets one go on as a job's, and answers what its kernel holds it to then. Throws
   * SANDBOX_FAILED, or CANCELLED when `signal` fires; it is of no use then.
   */
  async assign({ guest }: WarmGuest, job: GuestJob, signal?: AbortSignal): Promise<GuestCaps> {
    const assigning = (async () => {
      await Promise.all([guest.vm.goOn(), guest.holdCpu(job.limits.cpuMillis, false)]);
      return await assignGuest(guest.channel, job);
    })();
    return await within(handOverLimitMs, assigning, signal);
  }

  /** Ends one that was taken. */
  async drop(warm: WarmGuest): Promise<void> {
    await drop(warm);
  }

  /** Ends those that were made from this shape's snapshot, which is thrown away. */
  forget(shape: SnapshotShape): void {
    const key = keyOf(shape);
    this.#pool.forget((recipe) => keyOf(recipe.shape) === key);
  }

  /** Resolves when all that shall be ready is, and all that shall go is gone. */
  settled(): Promise<void> {
    return this.#pool.settled();
  }

  /** Ends all; none is made any more. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#pool.close();
  }

  #inLine(make: () => Promise<WarmGuest>): Promise<WarmGuest> {
    const made = this.#line.then(make);
    this.#line = made.catch(() => {});
    return made;
  }

  async #make({ ground, shape, ...needs }: Recipe): Promise<WarmGuest> {
    const { signal } = this.#closed;
    await this.#idle.begins(signal);
    const { id, folder } = await this.#maker.internalFolder();
    try {
      return await this.#maker.withParts(ground, needs, async (parts) => {
        if (keyOf(parts.shape) !== keyOf(shape)) throw new Error("what it is made of has changed");
        const cpuMillis = shape.cpus * 1000;
        const start = { id, folder, cpuMillis, limitMs: makeLimitMs, signal };
        return await this.#maker.restored(ground.setting, parts, start, async (guest, facts) => {
          await this.#warmUp(guest, id, shape);
          const isAlive = () => guest.channel.isOpen && !guest.broken();
          return { guest, facts, folder, isAlive, gone: guest.vm.ended.then(() => {}) };
        });
      });
    } catch (error: unknown) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * Walks the way of a job, so that an emulated processor has translated it: the settings, the
   * caps, a program. What they used is not the job's.
   */
  async #warmUp({ vm, channel, holdCpu }: Guest, id: string, shape: SnapshotShape): Promise<void> {
    const free = this.#idle.share({
      hold: () => signalProcess(vm.pid, "SIGSTOP"),
      letGo: () => signalProcess(vm.pid, "SIGCONT"),
    });
    try {
      await holdCpu(shape.cpus * 1000, true);
      const limits = {
        memoryMib: shape.memoryMib,
        cpuMillis: shape.cpus * 1000,
        pids: 1000,
        diskMib: shape.diskMib,
      };
      await assignGuest(channel, { id, limits, doors: [] });
      await runInGuest(channel, warmUpCommand);
      await channel.configure([["new-job"]]);
    } finally {
      free();
    }
    await vm.halt();
  }
}

/** True if a guest was made from another image, QEMU or host than the ones of now. */
function isOlder(known: SnapshotShape, now: SnapshotShape): boolean {
  const madeFrom = ({ qemu, accelerator, host, bootDigest, disks }: SnapshotShape) =>
    JSON.stringify([qemu, accelerator, host, bootDigest, disks[0]]);
  return madeFrom(known) !== madeFrom(now);
}

async function drop({ guest, folder }: WarmGuest): Promise<void> {
  await guest.remove();
  await rm(folder, { recursive: true, force: true });
}
