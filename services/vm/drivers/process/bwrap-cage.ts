/**
 * One sandbox of bubblewrap: all that only the host can do for it. What its
 * programs are asked for is left to the resident.
 */
import type { Cgroup } from "../cgroup.ts";
import type { SandboxSpec, SandboxStats } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";
import { readDiskUse } from "../kernel-receipt.ts";
import { descendants, letTreeGo, startTicks, stopTree, treeUse } from "../process-tree.ts";
import type { SandboxReceipt } from "../receipt.ts";
import { ResidentChannel } from "../resident/channel.ts";
import type { Cage, CapCounts } from "../resident/resident-sandbox.ts";
import { within } from "../within.ts";
import type { WorkDisk } from "../work-disk.ts";
import { type BwrapLayout, layoutArguments } from "./bwrap-layout.ts";
import { readBwrapReceipt } from "./bwrap-receipt.ts";
import { type Bwrap, startBwrap } from "./bwrap-start.ts";
import type { ProcessHost } from "./host.ts";
import { LimitWatch, limitWrappers } from "./limit-watch.ts";
import { endStrays } from "./strays.ts";

const removeTimeoutMs = 10_000;
/** bubblewrap ends with its child; one that does not is killed. */
const followsWithinMs = 2_000;

/** What a cage is made of. */
export interface BwrapCageOptions {
  readonly host: ProcessHost;
  readonly spec: SandboxSpec;
  readonly layout: BwrapLayout;
  readonly disk: WorkDisk;
  /** Absent: limits by rlimits and a watch. */
  readonly cgroup: Cgroup | undefined;
  /** The host's user that its programs run as; absent: this process's. */
  readonly user: number | undefined;
  /** Removes what the cage stands on, once nothing runs in it. */
  readonly remove: () => Promise<void>;
  readonly signal?: AbortSignal;
}

/**
 * Starts a resident under bubblewrap and reads back what holds it. Throws
 * SANDBOX_FAILED, and CANCELLED; nothing runs then, but what it stands on is
 * the caller's to remove.
 */
export async function openCage(options: BwrapCageOptions): Promise<BwrapCage> {
  const { host, spec, layout, cgroup, user, disk, signal } = options;
  const bwrap = startBwrap({
    ...{ bwrap: host.bwrap, user, seccomp: host.seccomp, id: spec.id },
    layout: layoutArguments(layout),
    wrapper: cgroup ? [] : limitWrappers(spec.limits),
  });
  const channel = new ResidentChannel({
    connection: bwrap.connection,
    driver: "process",
    onBroken: () => bwrap.kill(),
  });
  const abort = () => bwrap.kill();
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted) abort();
  let watch: LimitWatch | undefined;
  try {
    const init = await bwrap.init;
    // Nobody asks the resident to run anything before its limits hold.
    await Promise.all([cgroup?.add(init), channel.hello]);
    const isWatched = cgroup === undefined || host.disk === "folder";
    if (isWatched) {
      watch = new LimitWatch({
        ...{ limits: spec.limits, init, watchMemory: cgroup === undefined },
        folders: host.disk === "folder" ? [disk.work, disk.tmp] : [],
      });
    }
    const [receipt, began] = await Promise.all([
      readBwrapReceipt({ host, init, cgroup, disk, watched: spec.limits }),
      startTicks(init),
    ]);
    if (!channel.isOpen) throw sandboxFailed("process", "the sandbox is gone");
    return new BwrapCage({ ...options, bwrap, channel, receipt, init, began, watch });
  } catch (error: unknown) {
    watch?.stop();
    channel.close();
    await end(options, bwrap);
    // What bubblewrap said tells more than that its resident is gone.
    throw signal?.aborted ? error : await bwrap.failure(error);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Ends all that runs in a cage, from every state, and waits until it has ended. */
async function end({ host, spec, cgroup }: BwrapCageOptions, bwrap: Bwrap): Promise<void> {
  bwrap.kill();
  const impatience = setTimeout(() => bwrap.killOuter(), followsWithinMs);
  try {
    // What is frozen dies when its group goes.
    const [wasKilled] = await Promise.all([bwrap.gone, cgroup?.remove()]);
    if (wasKilled) await endStrays(host.bwrap, spec.id);
  } finally {
    clearTimeout(impatience);
  }
}

/** What a running cage has besides. */
interface RunningCage extends BwrapCageOptions {
  readonly bwrap: Bwrap;
  readonly channel: ResidentChannel;
  readonly receipt: SandboxReceipt;
  /** The resident, as the host numbers it, and when it began. */
  readonly init: number;
  readonly began: string;
  /** Absent: the kernel holds all limits by itself. */
  readonly watch: LimitWatch | undefined;
}

/** A bubblewrap with its resident. */
class BwrapCage implements Cage {
  readonly driver = "process";
  readonly channel: ResidentChannel;
  readonly receipt: SandboxReceipt;
  readonly #options: RunningCage;
  /** What a freeze without a freezer has stopped; undefined: nothing is frozen. */
  #stopped: readonly number[] | undefined;
  /** Freezing and letting go follow each other, whoever asks. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: RunningCage) {
    this.channel = options.channel;
    this.receipt = options.receipt;
    this.#options = options;
  }

  async remove(): Promise<void> {
    const { watch, bwrap, remove } = this.#options;
    watch?.stop();
    await within(removeTimeoutMs, end(this.#options, bwrap).then(remove));
  }

  async endPrograms(): Promise<void> {
    const { cgroup, init } = this.#options;
    await cgroup?.endAllBut(init);
  }

  async stats(): Promise<SandboxStats> {
    const { cgroup, watch, disk, init } = this.#options;
    if (!this.channel.isOpen) throw sandboxFailed("process", "the sandbox is gone");
    const diskBytes = (await watch?.diskBytes()) ?? (await readDiskUse(disk.work));
    if (cgroup !== undefined) return { ...(await cgroup.usage()), diskBytes };
    const { cpuMs, threads } = await treeUse([init, ...(await descendants(init))]);
    const memoryBytes = (await watch?.memoryBytes()) ?? 0;
    return {
      ...{ cpuMs, throttledMs: 0, memoryBytes, peakMemoryBytes: watch?.peakBytes ?? memoryBytes },
      // Rlimits do not say whom they have refused.
      ...{ pids: threads, pidsRefused: 0, diskBytes },
    };
  }

  freeze(): Promise<void> {
    return this.#inTurn(async () => {
      const { cgroup, init } = this.#options;
      if (cgroup?.canFreeze) return cgroup.freeze();
      this.#stopped ??= await stopTree(init);
    });
  }

  resume(): Promise<void> {
    return this.#inTurn(async () => {
      const { cgroup } = this.#options;
      if (cgroup?.canFreeze) return cgroup.thaw();
      letTreeGo(this.#stopped ?? []);
      this.#stopped = undefined;
    });
  }

  async counts(): Promise<CapCounts> {
    const { cgroup, watch } = this.#options;
    const diskKills = watch?.diskKills ?? 0;
    if (cgroup === undefined)
      return { oomKills: watch?.memoryKills ?? 0, pidsRefused: 0, diskKills };
    const [oomKills, pidsRefused] = await Promise.all([cgroup.oomKills(), cgroup.pidsRefused()]);
    return { oomKills, pidsRefused, diskKills };
  }

  readonly processes = async (): Promise<number> => {
    const { init, began } = this.#options;
    const isAlive = began !== "" && (await startTicks(init)) === began;
    return isAlive ? (await descendants(init)).length : 0;
  };

  #inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => {
      // The caller has it.
    });
    return done;
  }
}
