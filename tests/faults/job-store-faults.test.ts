/**
 * The backend's rules and runners over a store that fails by chance: whatever
 * is lost, late or doubled on the way, each request makes one job, each job one
 * story with one end.
 */
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError, isRetryable } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { CountedIds, SeededRandom, SortableIds } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { MemoryAgentStore } from "../../services/api/agents/agent-store.memory.ts";
import { Agents } from "../../services/api/agents/agents.ts";
import { MemoryAuditStore } from "../../services/api/audit/audit-store.memory.ts";
import { MemoryBlobStore } from "../../services/api/blobs/blob-store.memory.ts";
import { JobSignals } from "../../services/api/jobs/job-signals.ts";
import {
  allEvents,
  brief,
  history,
  log,
  result,
  specWith,
} from "../../services/api/jobs/job-store.suite.bed.ts";
import type { JobStore } from "../../services/api/jobs/job-store.ts";
import { Jobs } from "../../services/api/jobs/jobs.ts";
import { Queue } from "../../services/api/queue/queue.ts";
import { type GrantedLease, Runners } from "../../services/api/runners/runners.ts";
import { openStores } from "../../services/api/stores.ts";
import { MemoryTokenStore } from "../../services/api/tokens/token-store.memory.ts";
import { Tokens } from "../../services/api/tokens/tokens.ts";
import { TestClock } from "../../services/mesh/runtime/index.ts";
import { settled } from "../settled.ts";
import { type FaultRates, faultStore } from "./fault-store.ts";

const rates: FaultRates = {
  ...{ errorBefore: 0.06, errorAfter: 0.06, delay: 0.1, duplicate: 0.06, lostHint: 0.5 },
};
const jobCount = 12;
const lineCount = 6;
/** The runners are of the same deployment. */
const holder = "service";
const runnerIds = ["r1", "r2", "r3"];

describe("jobs over a store that fails", function () {
  this.timeout(60_000);

  for (const seed of [1, 42, 20_261_123]) {
    it(`lose nothing and double nothing, seed ${seed}`, async () => {
      const clock = new TestClock();
      const random = new SeededRandom(seed);
      const stores = await openStores({ storageUrl: "memory:", dataDir: "", clock, random });
      const counts = new Map<keyof FaultRates, number>();
      const store = faultStore({ store: stores.jobs, random, rates, counts });
      const world = new World(store, clock);
      await world.runUntil(async () => {
        const { queued, running } = await stores.jobs.stats();
        return queued + running === 0 && world.accepted.size === jobCount;
      });
      for (const fault of Object.keys(rates) as (keyof FaultRates)[]) {
        expect(counts.get(fault), fault).to.be.greaterThan(0);
      }
      const jobs = await stores.jobs.list({ limit: 500, statuses: [], type: "" });
      expect(jobs.map(({ id }) => id).sort()).to.deep.equal([...world.accepted.values()].sort());
      for (const job of jobs) await checkStory(stores.jobs, job);
      expect(world.mostAtOnce).to.be.at.most(2);
      await world.close();
      await stores.close();
    });
  }
});

/** A backend, its clients and its runners. */
class World {
  /** The job that answered each key. */
  readonly accepted = new Map<string, string>();
  /** How many jobs of the concurrency key had a live lease at once. */
  mostAtOnce = 0;
  readonly #clock: TestClock;
  readonly #store: JobStore;
  readonly #jobs: Jobs;
  readonly #runners: Runners;
  readonly #agents: Agents;
  readonly #signals: JobSignals;
  #over = false;

  constructor(store: JobStore, clock: TestClock) {
    this.#clock = clock;
    this.#store = store;
    const leaseTtlMs = 12_000;
    const logger = silentLogger();
    this.#agents = new Agents({ store: new MemoryAgentStore({ clock }), clock, leaseTtlMs });
    const queue = new Queue({ store, clock, maxQueued: () => 1_000 });
    const blobs = new MemoryBlobStore();
    const ids = new SortableIds(clock);
    this.#jobs = new Jobs({ store, blobs, agents: this.#agents, queue, ids });
    this.#signals = new JobSignals(store, clock);
    const tokens = new Tokens({
      ...{ store: new MemoryTokenStore(), clock, ids: new CountedIds(), scopes: [] },
      isRunning: async () => true,
    });
    this.#runners = new Runners({
      audit: new MemoryAuditStore(),
      ...{ store, signals: this.#signals, agents: this.#agents, tokens, clock, logger },
      ...{ leaseTtlMs, maxWaitMs: 60_000 },
    });
  }

  /** Clients that say what they want until they are answered; each says it once more after that. */
  async #createAll(): Promise<void> {
    const create = async (i: number) => {
      const backoff = durationFromMs(1_000);
      const spec = specWith({
        ...{ maxAttempts: 20, isolation: Isolation.PROCESS, priority: i % 3 },
        ...(i % 4 === 0 && { labels: { fails: "at first" } }),
        retry: { failures: i % 4 === 0, minBackoff: backoff, maxBackoff: backoff },
        ...(i % 2 === 0 && { concurrency: { key: "k", limit: 2 } }),
      });
      const input = { owner: "o", spec, idempotencyKey: `key-${i}` };
      const first = await persist(() => this.#jobs.create(input));
      const second = await persist(() => this.#jobs.create(input));
      expect(second.job.id).to.equal(first.job.id);
      this.accepted.set(input.idempotencyKey, first.job.id);
    };
    await Promise.all(Array.from({ length: jobCount }, (_, i) => create(i)));
  }

  /** Lets clients ask, runners work, and time go on, until it is done. */
  async runUntil(isDone: () => Promise<boolean>): Promise<void> {
    for (const id of runnerIds) {
      const capabilities = [{ driver: "d", isolation: Isolation.VM, available: true }];
      const runner = { id, host: "h", version: "0", capacity: 2, capabilities };
      await this.#agents.register(create(AgentSchema, runner), holder);
    }
    this.#runners.start();
    const work = Promise.all(runnerIds.map((id) => this.#run(id)));
    const time = (async () => {
      while (!this.#over && !(await isDone())) {
        this.#clock.advance(100);
        await settled(5);
      }
      this.#over = true;
    })();
    try {
      await Promise.all([time, work, this.#createAll()]);
    } finally {
      // What fails ends the rest.
      this.#over = true;
    }
  }

  async close(): Promise<void> {
    await this.#runners.close();
    this.#signals.close();
  }

  async #run(runnerId: string): Promise<void> {
    const held = new Map<string, { jobId: string; epoch: number }>();
    const { signal } = new AbortController();
    const input = { runnerId, holder, max: 2, strongest: Isolation.VM, waitMs: 0 };
    while (!this.#over) {
      const leases = await attempt(() => this.#runners.lease(input, signal));
      const work = Promise.all((leases ?? []).map((lease) => this.#work(lease, held)));
      let working = true;
      const done = work.finally(() => {
        working = false;
      });
      while (working && !this.#over) {
        await attempt(() => this.#runners.heartbeat(runnerId, [...held.values()], holder));
        await settled(3);
      }
      await done;
    }
  }

  /** Does one job as a runner does: what is not answered is said again, until the fence. */
  async #work(
    { job, epoch, nextSeq }: GrantedLease,
    held: Map<string, { jobId: string; epoch: number }>,
  ): Promise<void> {
    const lease = { jobId: job.id, epoch };
    held.set(job.id, lease);
    if (job.spec?.concurrency) await this.#countAtOnce();
    try {
      for (let line = 0; line < lineCount; line++) {
        const event = log(nextSeq + line, `${line}\n`);
        await persist(() => this.#runners.append(lease, [event], holder));
        await settled(2);
      }
      // Some fail at first, and are tried again.
      const outcome = job.attempt === 1 && job.spec?.labels.fails ? "FAILED" : "SUCCEEDED";
      const end = result(JobStatus[outcome]);
      await persist(() => this.#runners.finish(lease, nextSeq + lineCount, end, holder));
    } catch (error) {
      if (!(error instanceof DevmeshError) || error.reason !== "FENCED") throw error;
    } finally {
      held.delete(job.id);
    }
  }

  /** Counts by the store's own word: what a slow runner still thinks does not matter. */
  async #countAtOnce(): Promise<void> {
    const query = { limit: 500, statuses: [JobStatus.RUNNING], type: "" };
    const running = await persist(() => this.#store.list(query));
    const sharing = running.filter(({ spec }) => spec?.concurrency !== undefined);
    this.mostAtOnce = Math.max(this.mostAtOnce, sharing.length);
  }
}

/** Says it until it is answered; other refusals are thrown on. */
async function persist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof DevmeshError) || !isRetryable(error.reason)) throw error;
      await settled(3);
    }
  }
}

/** Says it once; undefined if the store was away. */
async function attempt<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof DevmeshError && isRetryable(error.reason)) return undefined;
    throw error;
  }
}

/** One end, nothing after it, and before it the whole log of the attempt that reached it. */
async function checkStory(store: JobStore, job: Job): Promise<void> {
  const told = await history(store, job.id);
  const ends = told.filter((event) => event.startsWith("result"));
  expect(ends).to.have.length(1);
  expect(told.at(-1)).to.equal(ends[0]);
  const start = told.findLastIndex((event) => event.startsWith("RUNNING"));
  const lines = told.slice(start + 1, -1);
  const whole = Array.from({ length: lineCount }, (_, line) => `log ${line}\n`);
  expect(job.status).to.equal(JobStatus.SUCCEEDED);
  expect(lines).to.deep.equal(whole);
  const epochs = (await allEvents(store, job.id)).flatMap(({ kind }) =>
    kind.case === "status" && kind.value.status === JobStatus.RUNNING ? [kind.value.epoch] : [],
  );
  expect(epochs).to.deep.equal([...new Set(epochs)].sort((a, b) => a - b));
  expect(brief((await allEvents(store, job.id))[0] ?? log(0, ""))).to.equal("QUEUED");
}
