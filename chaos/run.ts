/** One chaos run: a platform, a load on it, a killer, and the verdict. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Clients } from "./clients.ts";
import { History } from "./history.ts";
import { readPlatform } from "./job-reader.ts";
import { Killer } from "./killer.ts";
import { findLeftovers } from "./leftovers.ts";
import { Load } from "./load.ts";
import type { ChaosOptions } from "./options.ts";
import { type ChaosPlatform, partEnvironment } from "./platform.ts";
import { startEmbedded } from "./platform-embedded.ts";
import { startReplicas } from "./platform-replicas.ts";
import { Random } from "./random.ts";
import { type ChaosReport, isOk } from "./report.ts";
import { SandboxParts } from "./sandboxes.ts";
import { verifyHistory } from "./verifier.ts";

/** The longest that all jobs may take to end once nothing is struck any more. */
const settleLimitMs = 180_000;

/** The same where a busy host boots virtual machines for some of them. */
const settleWithMachinesMs = 900_000;

/** How many clients work at the same time. */
const workers = 8;

/** Runs it. Throws what keeps the platform from starting, and the signal's reason. */
export async function runOnce(
  options: ChaosOptions,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<ChaosReport> {
  const run = randomBytes(4).toString("hex");
  const folder = mkdtempSync(join(tmpdir(), "devmesh-chaos-"));
  // Root's sandboxes run as other users, who must get through.
  chmodSync(folder, 0o711);
  let keep = options.keep;
  try {
    await using parts = new AsyncDisposableStack();
    const sandboxParts = options.sandboxes
      ? await SandboxParts.start(folder, options.isolations, tell)
      : undefined;
    parts.defer(async () => void (await sandboxParts?.close()));
    const env = { ...partEnvironment(folder, run), ...sandboxParts?.env };
    const start = options.store === "sqlite" ? startEmbedded : startReplicas;
    const platform = await start({ folder, env, log: tell });
    try {
      const report = await strike({ options, platform, sandboxParts, run, folder, tell, signal });
      keep ||= !isOk(report);
      return report;
    } finally {
      // After an interrupt too: sandboxes that end cleanly leave no mounts in the folder.
      await platform.stop();
      await platform.close();
    }
  } finally {
    if (keep) tell(`kept: ${folder}`);
    else remove(folder, tell);
  }
}

function remove(folder: string, tell: (line: string) => void): void {
  try {
    // After a run that broke off: what was left is told before.
    for (const line of readFileSync("/proc/self/mounts", "utf8").split("\n").reverse()) {
      const path = line.split(" ")[1] ?? "";
      if (path.startsWith(`${folder}/`)) spawnSync("umount", ["--lazy", path]);
    }
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    tell(`left: ${folder}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

interface RunInput {
  readonly options: ChaosOptions;
  readonly platform: ChaosPlatform;
  readonly sandboxParts: SandboxParts | undefined;
  readonly run: string;
  readonly folder: string;
  readonly tell: (line: string) => void;
  readonly signal: AbortSignal;
}

async function strike(input: RunInput): Promise<ChaosReport> {
  const { options, platform, sandboxParts, run, folder, tell, signal } = input;
  const startedMs = performance.now();
  const history = new History(join(folder, "history.jsonl"));
  const random = new Random(String(options.seed));
  const clients = new Clients(platform.urls, platform.token);
  const givenUp = new AbortController();
  const ended = AbortSignal.any([signal, givenUp.signal]);
  const load = new Load({
    ...{ clients, history, run, workers, signal: ended },
    isolations: sandboxParts?.isolations ?? ["process"],
    random: random.fork("load"),
  });
  const { kills, minutes } = options;
  const killer = new Killer({
    ...{ platform, sandboxParts, history, run, kills, minutes, tell, signal },
    active: () => load.active,
    random: random.fork("killer"),
  });
  try {
    await untilSandboxes(clients, signal);
    load.start();
    const firstMs = performance.now();
    await killer.run();
    const strikingMs = performance.now() - firstMs;
    tell("waiting until every job has ended");
    const hasMachines = sandboxParts?.isolations.includes("vm") === true;
    const limitMs = hasMachines ? settleWithMachinesMs : settleLimitMs;
    const settled = await settle(load, givenUp, limitMs);
    signal.throwIfAborted();
    tell("verifying");
    // REST from another backend than the stream, where there are several.
    const url = platform.urls.at(-1) ?? "";
    const { token } = platform;
    const verdict = await verifyHistory(
      history.entries,
      readPlatform({ devmesh: clients.first, url, token }),
    );
    await sandboxParts?.deleteAll(platform.hosts);
    const leases = await platform.leasesLeft();
    const faults = [...settled, ...(await platform.stop())];
    faults.push(...platform.parts.flatMap(({ surprises }) => surprises));
    const sandboxes = [...killer.sandboxes, ...verdict.sandboxes];
    const { stateDirs } = platform;
    const inEngine = (await sandboxParts?.close()) ?? [];
    const pids = platform.parts.flatMap((part) => [...part.pids]);
    const orphans = [...inEngine, ...findLeftovers({ run, folder, stateDirs, sandboxes, pids })];
    if (leases > 0) orphans.push(`lease: ${leases} of ended jobs`);
    const totalMs = performance.now() - startedMs;
    const retried = Object.fromEntries(clients.retried);
    const { strikes } = killer;
    const { stuck = [], deletes = {}, slowestDeleteMs = 0 } = sandboxParts ?? {};
    const isolations = sandboxParts?.isolations ?? [];
    const sandboxed = { stuck, deletes, slowestDeleteMs, isolations };
    return {
      options,
      strikes,
      verdict,
      orphans,
      faults,
      retried,
      ...sandboxed,
      strikingMs,
      totalMs,
    };
  } finally {
    givenUp.abort();
    clients.close();
  }
}

/** Throws with the remedy where this host can run no job. */
async function untilSandboxes({ first }: Clients, signal: AbortSignal): Promise<void> {
  for (;;) {
    const runners = await first.agents.list({ signal });
    const drivers = runners.flatMap(({ capabilities }) => capabilities);
    if (drivers.some(({ available }) => available)) return;
    const [missing] = drivers.filter(({ pending }) => !pending);
    if (missing !== undefined) {
      throw new Error(`there is no sandbox: ${missing.reason}; ${missing.remedy}`);
    }
    await delay(50, undefined, { signal });
  }
}

/** What is wrong with how the load came to its end. */
async function settle(load: Load, givenUp: AbortController, limitMs: number): Promise<string[]> {
  const timer = setTimeout(() => givenUp.abort(), limitMs);
  try {
    await load.settle();
  } finally {
    clearTimeout(timer);
  }
  if (!givenUp.signal.aborted) return [];
  return [`not every job has ended within ${limitMs} ms after the last strike`];
}
