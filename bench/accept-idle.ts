/** What an idle platform takes of the machine, with and without its embedding model. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { createDevmesh } from "@devmesh/sdk/node";
import type { Figures, System } from "./bench.ts";
import { startPlatformChild } from "./platform-child.ts";
import { usageOf } from "./process-usage.ts";

const windowMs = 20_000;

/** A platform that nobody asks anything; `embed`: after it has embedded a document. */
export async function idlePlatform(name: string, how: { embed: boolean }): Promise<System> {
  const platform = await startPlatformChild({ models: how.embed });
  if (how.embed) await embedOne(platform.url, platform.token);
  const startRssMiB = usageOf(platform.pid).rssMiB;
  return {
    name,
    round: async () => ({ startRssMiB, ...(await watched(platform.pid)) }),
    close: () => platform.close(),
  };
}

/** The floor: a Node that waits. */
export async function bareIdleNode(): Promise<System> {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 2 ** 30)"]);
  await once(child, "spawn");
  return {
    name: "bare node",
    round: () => watched(child.pid ?? 0),
    async close() {
      const ended = once(child, "exit");
      child.kill();
      await ended;
    },
  };
}

async function watched(pid: number): Promise<Figures> {
  const before = usageOf(pid);
  const startedAt = performance.now();
  await sleep(windowMs);
  const after = usageOf(pid);
  const cpuPercent = ((after.cpuMs - before.cpuMs) / (performance.now() - startedAt)) * 100;
  return { rssMiB: after.rssMiB, cpuPercent };
}

/** Loads the model: a search tells by its receipt that it was by meaning too. */
async function embedOne(url: string, token: string): Promise<void> {
  const devmesh = createDevmesh({ baseUrl: url, token });
  try {
    await devmesh.context.ingest([{ source: "notes/idle.md", text: "An idle platform rests." }]);
    for (let tries = 0; tries < 600; tries++) {
      const { receipt } = await devmesh.context.search("rest");
      if (receipt?.degraded === "") return;
      await sleep(100);
    }
    throw new Error("no embedding model answers: none is in this machine's cache");
  } finally {
    devmesh.close();
  }
}
