/** pg-boss, graphile-worker and BullMQ as queues, each by its documented calls. */
import { Pool } from "pg";
import { percentile } from "./bench.ts";
import {
  callers,
  claimAndFinish,
  Hint,
  type Queue,
  StartTimer,
  type WorkRates,
} from "./jobs-queue.ts";
import { loadPeer } from "./peers.ts";

const payload = { text: "x".repeat(200) };

/** How many jobs one bulk insert has. */
const bulk = 5_000;

interface PgBoss {
  start(): Promise<unknown>;
  stop(options: object): Promise<void>;
  on(event: "error", listener: () => void): void;
  createQueue(name: string, options?: object): Promise<void>;
  deleteQueue(name: string): Promise<void>;
  send(name: string, data: object, options?: object): Promise<string | null>;
  insert(name: string, jobs: object[]): Promise<unknown>;
  fetch(name: string, options?: object): Promise<{ id: string }[]>;
  complete(name: string, id: string): Promise<unknown>;
  work(
    name: string,
    options: object,
    handler: (jobs: { id: string }[]) => Promise<void>,
  ): Promise<string>;
  offWork(name: string, options?: object): Promise<void>;
}

/** pg-boss; an idle queue is listened to, a backlog is fetched job by job. */
export async function pgBoss(url: string): Promise<Queue> {
  const { PgBoss: Boss } = await loadPeer<{ PgBoss: new (options: object) => PgBoss }>("pg-boss");
  const boss = new Boss({ connectionString: url, max: 10, schedule: false, useListenNotify: true });
  boss.on("error", () => {});
  await boss.start();
  const name = "bench";
  const claim = async () => (await boss.fetch(name))[0];
  const finish = ({ id }: { id: string }) => boss.complete(name, id);
  let queued = 0;
  const send = async (priority: number) => (await boss.send(name, payload, { priority })) ?? "";
  return {
    name: "pg-boss",
    async fill(count) {
      queued = count;
      await boss.deleteQueue(name).catch(() => {
        // There is none the first time.
      });
      await boss.createQueue(name, { notify: true });
      for (let left = count; left > 0; left -= bulk) {
        await boss.insert(
          name,
          Array.from({ length: Math.min(bulk, left) }, () => ({ data: payload })),
        );
      }
    },
    accept: () => send(0),
    work: (windowMs) => claimAndFinish({ claim, finish }, windowMs),
    async startLatencies(samples) {
      const timer = new StartTimer();
      if (queued === 0) {
        const options = { pollingIntervalSeconds: 0.5, batchSize: 1 };
        await boss.work(name, options, async ([job]) => timer.started(job?.id ?? ""));
        const times = await timer.samples(samples, () => send(1000));
        await boss.offWork(name, { wait: true });
        return times;
      }
      let working = true;
      const claimer = (async () => {
        while (working) {
          const job = await claim();
          if (job === undefined) continue;
          timer.started(job.id);
          await finish(job);
        }
      })();
      const times = await timer.samples(samples, () => send(1000));
      working = false;
      await claimer;
      return times;
    },
    close: () => boss.stop({ graceful: false }),
  };
}

interface GraphileUtils {
  addJob(task: string, data: object, options?: object): Promise<{ id: string }>;
  addJobs(jobs: object[]): Promise<unknown>;
  withPgClient<T>(work: (client: { query(text: string): Promise<T> }) => Promise<T>): Promise<T>;
  migrate(): Promise<void>;
  release(): Promise<void>;
}

interface Graphile {
  makeWorkerUtils(options: object): Promise<GraphileUtils>;
  run(options: object): Promise<{ stop(): Promise<void> }>;
  Logger: new (factory: () => () => void) => object;
}

/** graphile-worker; claims belong to its worker, so both rates are of jobs that are done. */
export async function graphileWorker(url: string): Promise<Queue> {
  const { makeWorkerUtils, run, Logger } = await loadPeer<Graphile>("graphile-worker");
  const pgPool = new Pool({ connectionString: url, max: callers + 2 });
  // Its listener is cut off when the server stops.
  pgPool.on("error", () => {});
  pgPool.on("connect", (client) => client.on("error", () => {}));
  const shared = { pgPool, logger: new Logger(() => () => {}) };
  const utils = await makeWorkerUtils(shared);
  await utils.migrate();
  const worker = (concurrency: number, done: (id: string) => void) =>
    run({
      ...shared,
      concurrency,
      noHandleSignals: true,
      pollInterval: 500,
      taskList: {
        bench: async (_: unknown, { job }: { job: { id: string } }) => done(String(job.id)),
      },
    });
  // A lower number runs earlier here.
  const add = async (priority: number) =>
    String((await utils.addJob("bench", payload, { priority })).id);
  return {
    name: "graphile-worker",
    async fill(count) {
      await utils.withPgClient((client) =>
        client.query("TRUNCATE graphile_worker._private_jobs CASCADE"),
      );
      for (let left = count; left > 0; left -= bulk) {
        await utils.addJobs(
          Array.from({ length: Math.min(bulk, left) }, () => ({ identifier: "bench", payload })),
        );
      }
    },
    accept: () => add(0),
    work: (windowMs) =>
      handled(
        windowMs,
        (done) => worker(callers, done),
        (w) => w.stop(),
      ),
    async startLatencies(samples) {
      const timer = new StartTimer();
      const running = await worker(1, (id) => timer.started(id));
      const times = await timer.samples(samples, () => add(-1000));
      await running.stop();
      return times;
    },
    async close() {
      await utils.release();
      await pgPool.end();
    },
  };
}

interface BullQueue {
  add(name: string, data: object, options?: object): Promise<{ id?: string }>;
  addBulk(jobs: object[]): Promise<unknown>;
  obliterate(options: object): Promise<void>;
  close(): Promise<void>;
}

interface Bull {
  Queue: new (name: string, options: object) => BullQueue;
  Worker: new (
    name: string,
    handler: (job: { id?: string }) => Promise<void>,
    options: object,
  ) => { close(force?: boolean): Promise<void>; on(event: "error", listener: () => void): void };
}

/** BullMQ on Redis with an append-only file; claims belong to its worker here too. */
export async function bullMq(host: string, port: number): Promise<Queue> {
  const { Queue: Bull, Worker } = await loadPeer<Bull>("bullmq");
  const connection = { host, port, maxRetriesPerRequest: null };
  const keep = { removeOnComplete: true, removeOnFail: true };
  const queue = new Bull("bench", { connection, defaultJobOptions: keep });
  const worker = async (concurrency: number, done: (id: string) => void) => {
    const handler = async ({ id }: { id?: string }) => done(id ?? "");
    const running = new Worker("bench", handler, { connection, concurrency });
    running.on("error", () => {});
    return running;
  };
  // 1 is the highest priority; jobs without one go before all others, so the backlog has one.
  const add = async (priority: number) =>
    (await queue.add("bench", payload, { priority })).id ?? "";
  return {
    name: "bullmq",
    async fill(count) {
      await queue.obliterate({ force: true });
      for (let left = count; left > 0; left -= bulk) {
        const opts = { priority: 100 };
        await queue.addBulk(
          Array.from({ length: Math.min(bulk, left) }, () => ({
            name: "bench",
            data: payload,
            opts,
          })),
        );
      }
    },
    accept: () => add(100),
    work: (windowMs) =>
      handled(
        windowMs,
        (done) => worker(callers, done),
        (w) => w.close(),
      ),
    async startLatencies(samples) {
      const timer = new StartTimer();
      const running = await worker(1, (id) => timer.started(id));
      const times = await timer.samples(samples, () => add(1));
      await running.close();
      return times;
    },
    close: () => queue.close(),
  };
}

/** Lets a worker run until the window has passed since its first job. */
async function handled<W>(
  windowMs: number,
  start: (done: () => void) => Promise<W>,
  stop: (worker: W) => Promise<unknown>,
): Promise<WorkRates> {
  const first = new Hint();
  const stamps: number[] = [];
  const worker = await start(() => {
    stamps.push(performance.now());
    if (stamps.length === 1) first.give();
  });
  await first.wait();
  await new Promise((resolve) => setTimeout(resolve, windowMs));
  const until = performance.now();
  await stop(worker);
  const counted = stamps.filter((at) => at <= until);
  const lastAt = percentile(counted, 1);
  const spanMs = Math.max(1, lastAt - (counted[0] ?? lastAt));
  const perSecond = ((counted.length - 1) * 1000) / spanMs;
  return { claimsPerSecond: perSecond, jobsPerSecond: perSecond };
}
