/**
 * The job queue: accepts, claims and starts with nothing, 500, 20,000 and
 * 200,000 jobs waiting, beside pg-boss, graphile-worker and BullMQ in turn.
 */

import type { Found } from "../scripts/parts/part.ts";
import { startPostgres } from "../scripts/parts/postgres.ts";
import { startRedis } from "../scripts/parts/redis.ts";
import { type Bench, type Case, type Figures, percentile, type System } from "./bench.ts";
import { devmeshOnPostgres, devmeshOnSqlite } from "./jobs-devmesh.ts";
import { bullMq, graphileWorker, pgBoss } from "./jobs-peers.ts";
import { type Queue, rateOf } from "./jobs-queue.ts";

const backlogs = [0, 500, 20_000, 200_000];

/** How long accepting and claiming are measured in one round. */
const windowMs = 1_500;

/** How many starts are timed in one round. */
const samples = 40;

/** Claims and starts by the length of the queue. */
export const bench: Bench = {
  name: "jobs",
  about:
    "accepts, claims and start latency at 0 to 200,000 queued: devmesh, pg-boss, graphile-worker, BullMQ",
  cases: (["sqlite", "postgres", "redis"] as const).flatMap((store) =>
    backlogs.map((queued) => caseOf(store, queued)),
  ),
  verdicts: (rows) => {
    const rate = (store: string, queued: number) =>
      Number(
        rows.find((r) => r.system === "devmesh" && r.store === store && r.queued === queued)
          ?.claimsPerSecond ?? Number.NaN,
      );
    const floor = (store: string, queued: number, least: number) => ({
      promise: "P11",
      what: `${store}, ${queued} queued: ${rate(store, queued)} claims/s, at least ${least}`,
      holds: rate(store, queued) >= least,
    });
    const flat = (store: string) => {
      const share = Math.round((rate(store, 200_000) / rate(store, 500)) * 100) / 100;
      const what = `${store}: the rate at 200,000 queued is ${share} of that at 500, at least 0.8`;
      return { promise: "P11", what, holds: share >= 0.8 };
    };
    return [
      floor("sqlite", 200_000, 3_000),
      floor("postgres", 20_000, 800),
      flat("sqlite"),
      flat("postgres"),
    ];
  },
};

function caseOf(store: "sqlite" | "postgres" | "redis", queued: number): Case {
  return {
    name: `${store}, ${queued} queued`,
    labels: { store, queued },
    rounds: 3,
    warmUpRounds: 1,
    floor: store === "redis" ? "bullmq" : "devmesh",
    figure: "claimsPerSecond",
    open: () => opened[store](queued),
  };
}

const opened = {
  sqlite: async (queued: number) => [systemOf(await devmeshOnSqlite(), queued)],
  async postgres(queued: number) {
    // Each has a server of its own: none pays for the dead rows of another.
    const urls = [];
    for (let i = 0; i < 3; i++) urls.push(need(await startPostgres({ durable: true })));
    const [ours, boss, graphile] = urls;
    if (!ours || !boss || !graphile) return [];
    return [
      systemOf(await devmeshOnPostgres(ours.url), queued, () => ours.stop()),
      systemOf(await pgBoss(boss.url), queued, () => boss.stop()),
      systemOf(await graphileWorker(graphile.url), queued, () => graphile.stop()),
    ];
  },
  async redis(queued: number) {
    const redis = need(await startRedis());
    return [systemOf(await bullMq(redis.host, redis.port), queued, () => redis.stop())];
  },
};

function systemOf(queue: Queue, queued: number, stop = async () => {}): System {
  return {
    name: queue.name,
    async round(): Promise<Figures> {
      await queue.fill(queued);
      const acceptsPerSecond = await rateOf(windowMs, () => queue.accept());
      // Claims of an empty queue would measure nothing: what was just accepted is claimed.
      const { claimsPerSecond, jobsPerSecond } = await queue.work(windowMs);
      await queue.fill(queued);
      const times = await queue.startLatencies(samples);
      return {
        claimsPerSecond,
        jobsPerSecond,
        acceptsPerSecond,
        startP50Ms: percentile(times, 0.5),
        startP99Ms: percentile(times, 0.99),
      };
    },
    async close() {
      await queue.close();
      await stop();
    },
  };
}

function need<T>(found: Found<T>): T {
  if (found.ok) return found.value;
  throw new Error(`${found.reason} (${found.remedy})`);
}
