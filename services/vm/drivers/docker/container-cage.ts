/** What only the engine can do with a container that is a sandbox: hold it, measure it, end it. */
import type { Container, ContainerStats } from "dockerode";
import { sandboxFailed } from "../driver-errors.ts";
import type { SandboxReceipt } from "../receipt.ts";
import type { Cage } from "../resident/resident-sandbox.ts";
import { within } from "../within.ts";
import type { EngineStats } from "./container-kernel.ts";
import type { MadeContainer } from "./container-maker.ts";
import { type Engine, messageOf } from "./engine.ts";

/** What a cage is made of. */
export interface ContainerCageOptions {
  readonly driver: string;
  readonly engine: Engine;
  readonly made: MadeContainer;
  readonly receipt: SandboxReceipt;
  /** Removes all that belongs to the sandbox. */
  readonly remove: () => Promise<void>;
}

const holdTimeoutMs = 8_000;
const statsTimeoutMs = 10_000;

/** The cage of a container. */
export function containerCage(options: ContainerCageOptions): Cage {
  const { driver, made, receipt, remove } = options;
  const container = options.engine.container(made.containerId);
  const hold = async (act: Promise<unknown>, isDone: RegExp, what: string) => {
    try {
      await within(holdTimeoutMs, act);
    } catch (error: unknown) {
      if (!isDone.test(messageOf(error))) {
        throw sandboxFailed(driver, `the container cannot be ${what}`, error);
      }
    }
  };
  return {
    driver,
    channel: made.channel,
    receipt,
    remove: async () => {
      await made.kernel.easeEnd();
      await remove();
    },
    stats: () => made.kernel.stats(() => engineStats(container)),
    freeze: () => hold(container.pause(), /already paused/i, "frozen"),
    resume: () => hold(container.unpause(), /not paused/i, "resumed"),
    processes: () => made.kernel.processes(),
    endPrograms: () => made.kernel.endPrograms(),
  };
}

/** The engine's own words, for containers on another kernel. It takes a second or two for them. */
async function engineStats(container: Container): Promise<EngineStats> {
  const found: ContainerStats = await within(statsTimeoutMs, container.stats({ stream: false }));
  const { cpu_stats: cpu, memory_stats: memory, pids_stats: pids } = found;
  return {
    cpuMs: (cpu?.cpu_usage?.total_usage ?? 0) / 1e6,
    throttledMs: (cpu?.throttling_data?.throttled_time ?? 0) / 1e6,
    memoryBytes: memory?.usage ?? 0,
    peakMemoryBytes: memory?.max_usage ?? memory?.usage ?? 0,
    pids: pids?.current ?? 0,
    pidsRefused: 0,
  };
}
