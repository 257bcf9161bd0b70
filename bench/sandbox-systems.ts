/** Sandboxes of one driver, and the bare tools beside them, as systems of a bench. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Sandbox, SandboxDriver, SandboxSpec } from "../services/vm/drivers/driver.ts";
import { type Figures, percentile, type System } from "./bench.ts";

const run = promisify(execFile);

/** The bounds of every sandbox here. */
const limits = { memoryMib: 256, cpuMillis: 1000, pids: 128, diskMib: 64 };

/** A fresh sandbox's spec. */
function benchSpec(): SandboxSpec {
  const id = `sbx_${randomUUID().replaceAll("-", "").slice(0, 20)}`;
  return { id, jobId: "job_bench", limits, mounts: [], doors: [] };
}

/** Runs a program and answers when its first output has come. */
async function firstOutput(sandbox: Sandbox): Promise<void> {
  const program = await sandbox.exec({ argv: ["echo", "here"], env: {} });
  for await (const { data } of program.output()) {
    if (data.length > 0) break;
  }
  const { exitCode } = await program.exit;
  if (exitCode !== 0) throw new Error(`echo ended with ${exitCode}`);
}

/** What a number of measured steps come to; a step that threw counts as not succeeded. */
export function summary(tookMs: readonly number[]): Figures {
  return {
    p50Ms: percentile(tookMs, 0.5),
    p95Ms: percentile(tookMs, 0.95),
    succeeded: tookMs.length,
  };
}

async function timed(step: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await step();
  return performance.now() - startedAt;
}

/**
 * One after the other: create, first output. Not measured: the removal, and the
 * rest before the next one, in which a pool may fill up.
 */
export function creations(name: string, driver: SandboxDriver, count: number, restMs = 0): System {
  return {
    name,
    async round() {
      const tookMs: number[] = [];
      for (let i = 0; i < count; i++) {
        let sandbox: Sandbox | undefined;
        tookMs.push(
          await timed(async () => {
            sandbox = await driver.create(benchSpec());
            await firstOutput(sandbox);
          }),
        );
        await sandbox?.delete();
        await delay(restMs);
      }
      return summary(tookMs);
    },
    close: async () => {},
  };
}

/** All at once: how long each took, and how many came to be. */
export function burst(name: string, driver: SandboxDriver, count: number): System {
  return {
    name,
    async round() {
      const made = await Promise.allSettled(
        Array.from({ length: count }, async () => {
          const startedAt = performance.now();
          const sandbox = await driver.create(benchSpec());
          await firstOutput(sandbox);
          return { sandbox, tookMs: performance.now() - startedAt };
        }),
      );
      const good = made.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      await Promise.all(driver.list().map((sandbox) => sandbox.delete()));
      return summary(good.map(({ tookMs }) => tookMs));
    },
    close: async () => {},
  };
}

/** A program's whole way in a sandbox that lives. */
export function execs(name: string, driver: SandboxDriver, count: number): System {
  let sandbox: Sandbox | undefined;
  return {
    name,
    async round() {
      sandbox ??= await driver.create(benchSpec());
      const live = sandbox;
      const tookMs: number[] = [];
      for (let i = 0; i < count; i++) tookMs.push(await timed(() => firstOutput(live)));
      return summary(tookMs);
    },
    close: async () => sandbox?.delete(),
  };
}

/** From the call to nothing left. */
export function deletions(name: string, driver: SandboxDriver, count: number): System {
  return {
    name,
    async round() {
      const tookMs: number[] = [];
      for (let i = 0; i < count; i++) {
        const sandbox = await driver.create(benchSpec());
        await firstOutput(sandbox);
        tookMs.push(await timed(() => sandbox.delete()));
      }
      return summary(tookMs);
    },
    close: async () => {},
  };
}

/** A command of the host, run to its end. */
export function bareCommand(name: string, argv: readonly string[], count: number): System {
  const [file = "", ...args] = argv;
  return {
    name,
    async round() {
      const tookMs: number[] = [];
      for (let i = 0; i < count; i++) tookMs.push(await timed(() => run(file, args)));
      return summary(tookMs);
    },
    close: async () => {},
  };
}

/** What an idle sandbox costs the host: the memory of every process that came with it. */
export function idleMemory(name: string, driver: SandboxDriver): System {
  return {
    name,
    async round() {
      const before = new Set(await processes());
      const sandbox = await driver.create(benchSpec());
      await firstOutput(sandbox);
      const own = (await processes()).filter((pid) => !before.has(pid));
      const bytes = await Promise.all(own.map(proportionalBytes));
      await sandbox.delete();
      return { memoryMiB: bytes.reduce((sum, one) => sum + one, 0) / 1024 / 1024 };
    },
    close: async () => {},
  };
}

async function processes(): Promise<number[]> {
  return (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Pages that several processes share count for each by its part. */
async function proportionalBytes(pid: number): Promise<number> {
  try {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, "latin1");
    return Number(/^Pss: +(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
  } catch {
    // It ended while we looked.
    return 0;
  }
}
