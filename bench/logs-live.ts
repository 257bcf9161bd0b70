/** A running job's lines on their way to those who watch it, and a job that writes a million. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createClient } from "@connectrpc/connect";
import { QueueService } from "@devmesh/gen/devmesh/api/v1/queue_service_pb";
import { createDevmesh } from "@devmesh/sdk/node";
import { type Figures, percentile, type System } from "./bench.ts";
import type { WatchOrder, WatchReport } from "./logs-watchers.ts";
import { type PlatformChild, startPlatformChild } from "./platform-child.ts";
import { usageOf } from "./process-usage.ts";

/** Lines that a watched job writes, and how many in a second. */
const watchedLines = 200;
const pauseS = 0.05;

/** Writes each line's number and the time of its writing, in nanoseconds. */
const stampedLines = `i=0; while [ $i -lt ${watchedLines} ]; do echo "$i $(date +%s%N)"; i=$((i+1)); sleep ${pauseS}; done`;

/** Lines of the job that writes as fast as it can. */
const manyLines = 1_000_000;

/** A platform whose one job is watched by `watchers` at once. */
export async function watchedJob(watchers: number): Promise<System> {
  const platform = await startPlatformChild();
  const child = fork(new URL("logs-watchers.ts", import.meta.url).pathname, [
    platform.url,
    platform.token,
  ]);
  return {
    name: `devmesh, ${watchers} watching`,
    round: () => watchedRound(platform, child, watchers),
    async close() {
      const gone = once(child, "exit");
      child.disconnect();
      await gone;
      await platform.close();
    },
  };
}

async function watchedRound(
  platform: PlatformChild,
  child: ChildProcess,
  watchers: number,
): Promise<Figures> {
  const devmesh = createDevmesh({ baseUrl: platform.url, token: platform.token });
  const queue = createClient(QueueService, devmesh.transport);
  try {
    // It starts when all watchers are there.
    await queue.pauseQueue({ detail: "until all watch" });
    const { jobId } = await devmesh.jobs.create({ command: ["sh", "-c", stampedLines] });
    child.send({ jobId, watchers } satisfies WatchOrder);
    await once(child, "message");
    await queue.resumeQueue({});
    const before = usageOf(platform.pid);
    const startedAt = performance.now();
    const [report] = (await once(child, "message")) as [WatchReport];
    const after = usageOf(platform.pid);
    return {
      lineP50Ms: percentile(report.delaysMs, 0.5),
      lineP99Ms: percentile(report.delaysMs, 0.99),
      whole: report.whole,
      cpuPercent: ((after.cpuMs - before.cpuMs) / (performance.now() - startedAt)) * 100,
      rssMiB: after.rssMiB,
    };
  } finally {
    devmesh.close();
  }
}

/** The floor: the same program with its output read from a pipe. */
export function barePipe(): System {
  return {
    name: "bare pipe",
    async round(): Promise<Figures> {
      const child = spawn("sh", ["-c", stampedLines], { stdio: ["ignore", "pipe", "inherit"] });
      const delays: number[] = [];
      child.stdout.on("data", (data: Buffer) => {
        const now = Date.now();
        for (const line of data.toString().trim().split("\n")) {
          delays.push(now - Number(line.split(" ")[1]) / 1e6);
        }
      });
      await once(child, "close");
      return { lineP50Ms: percentile(delays, 0.5), lineP99Ms: percentile(delays, 0.99) };
    },
    close: async () => {},
  };
}

/** A job that writes a million lines, from its start to its result at the client. */
export async function loudJob(): Promise<System> {
  const platform = await startPlatformChild();
  const devmesh = createDevmesh({ baseUrl: platform.url, token: platform.token });
  return {
    name: "devmesh, job to watching client",
    async round(): Promise<Figures> {
      const command = ["sh", "-c", `seq -f 'line %.0f of a job that has much to say' ${manyLines}`];
      const startedAt = performance.now();
      const { jobId } = await devmesh.jobs.create({ command });
      let bytes = 0;
      for await (const { kind } of devmesh.jobs.watch(jobId)) {
        if (kind.case === "log") bytes += kind.value.data.length;
      }
      const seconds = (performance.now() - startedAt) / 1000;
      return { linesPerSecond: manyLines / seconds, mibPerSecond: bytes / 1024 / 1024 / seconds };
    },
    async close() {
      devmesh.close();
      await platform.close();
    },
  };
}
