/** The backend's own job store as a queue, on SQLite and on Postgres. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { create } from "@bufbuild/protobuf";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { Client } from "pg";
import type { ClaimedJob, JobStore } from "../services/api/jobs/job-store.ts";
import { openStores, postgresSchema, type Stores } from "../services/api/stores.ts";
import { SortableIds, SystemClock } from "../services/mesh/runtime/index.ts";
import { claimAndFinish, Hint, type Queue, StartTimer } from "./jobs-queue.ts";

/** Jobs whose rows are in a table: what `fill` copies one of. */
interface Rows {
  /** Removes everything. */
  clear(): Promise<void>;
  /** Adds `count` copies of the one job that is there. */
  copy(count: number): Promise<void>;
  close(): Promise<void>;
}

/** The store on a SQLite file of its own. */
export async function devmeshOnSqlite(): Promise<Queue> {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-bench-"));
  const clock = new SystemClock();
  const stores = await openStores({ storageUrl: "sqlite:jobs.db", dataDir: folder, clock });
  const db = new DatabaseSync(join(folder, "jobs.db"), { timeout: 10_000 });
  const columns = db
    .prepare("SELECT name FROM pragma_table_info('jobs') WHERE name <> 'id'")
    .all()
    .map(({ name }) => String(name));
  return queueOf(stores, {
    async clear() {
      db.exec("DELETE FROM job_keys; DELETE FROM jobs; DELETE FROM job_events;");
      if (columns.includes("hold")) db.exec("DELETE FROM job_leases");
    },
    async copy(count) {
      db.exec(`
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
        INSERT INTO jobs (id, ${columns.join(", ")})
        SELECT 'job_0' || printf('%025d', i), ${columns.join(", ")} FROM jobs, n`);
      db.exec("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)");
    },
    async close() {
      db.close();
      rmSync(folder, { recursive: true, force: true });
    },
  });
}

/** The store on a Postgres server. */
export async function devmeshOnPostgres(url: string): Promise<Queue> {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-bench-"));
  const stores = await openStores({ storageUrl: url, dataDir: folder, clock: new SystemClock() });
  const client = new Client({ connectionString: url, options: `-c search_path=${postgresSchema}` });
  await client.connect();
  const { rows } = await client.query<{ name: string }>(
    `SELECT column_name AS name FROM information_schema.columns
     WHERE table_schema = $1 AND table_name = 'jobs' AND column_name <> 'id'`,
    [postgresSchema],
  );
  const columns = rows.map(({ name }) => name).join(", ");
  return queueOf(stores, {
    async clear() {
      await client.query("TRUNCATE jobs, job_events, job_keys, job_leases");
    },
    async copy(count) {
      await client.query(`INSERT INTO jobs (id, ${columns})
        SELECT 'job_0' || lpad(i::text, 25, '0'), ${columns} FROM jobs, generate_series(1, ${count}) i`);
      await client.query("VACUUM ANALYZE jobs");
    },
    async close() {
      await client.end();
      rmSync(folder, { recursive: true, force: true });
    },
  });
}

function queueOf(stores: Stores, rows: Rows): Queue {
  const { jobs } = stores;
  const ids = new SortableIds(new SystemClock());
  const accept = (priority: number) =>
    jobs.accept({ id: ids.next("job"), owner: "bench", spec: spec(priority), maxAttempts: 2 });
  const claimable = { claim: () => claimOne(jobs), finish: (held: ClaimedJob) => end(jobs, held) };
  return {
    name: "devmesh",
    async fill(queued) {
      await rows.clear();
      if (queued === 0) return;
      await accept(0);
      await rows.copy(queued - 1);
    },
    accept: () => accept(0),
    work: (windowMs) => claimAndFinish(claimable, windowMs),
    async startLatencies(samples) {
      const timer = new StartTimer();
      const hint = new Hint();
      const stopListening = jobs.onChange(() => hint.give());
      let working = true;
      const claimer = (async () => {
        while (working) {
          const held = await claimOne(jobs);
          if (held === undefined) {
            await hint.wait();
            continue;
          }
          timer.started(held.job.id);
          await end(jobs, held);
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      const times = await timer.samples(samples, async () => (await accept(1000)).job.id);
      working = false;
      hint.give();
      await claimer;
      stopListening();
      return times;
    },
    async close() {
      await stores.close();
      await rows.close();
    },
  };
}

function spec(priority: number) {
  const command = { argv: ["true"], env: { PAYLOAD: "x".repeat(120) } };
  return create(JobSpecSchema, {
    work: { case: "command", value: command },
    isolation: Isolation.PROCESS,
    maxAttempts: 2,
    priority,
  });
}

async function claimOne(jobs: JobStore): Promise<ClaimedJob | undefined> {
  const ask = { runnerId: "bench", strongest: Isolation.PROCESS, max: 1, leaseTtlMs: 60_000 };
  return (await jobs.claim(ask))[0];
}

function end(jobs: JobStore, { job, epoch, nextSeq }: ClaimedJob): Promise<unknown> {
  const result = create(JobResultSchema, { outcome: JobStatus.SUCCEEDED, exitCode: 0 });
  return jobs.finish({ jobId: job.id, epoch }, nextSeq, result);
}
