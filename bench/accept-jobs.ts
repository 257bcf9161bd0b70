/** Jobs of `true`, one after another on an idle platform, and the bare transactions beside them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createDevmesh, type JobEvent, JobStatus, type NodeDevmesh } from "@devmesh/sdk/node";
import { type Figures, percentile, type System } from "./bench.ts";
import { startPlatformChild } from "./platform-child.ts";

/** One job's times, in milliseconds. The store stamps whole milliseconds. */
interface JobTimes {
  /** From the store's time of acceptance to its time of the start. */
  readonly running: number;
  /** From the call that hands it in to the store's time of the start. */
  readonly sent: number;
  /** From the call that hands it in to the result at the watching client. */
  readonly whole: number;
}

/** A platform that is handed jobs. */
export async function jobsOneByOne(jobs: number): Promise<System> {
  const platform = await startPlatformChild();
  const devmesh = createDevmesh({ baseUrl: platform.url, token: platform.token });
  return {
    name: "devmesh",
    async round(): Promise<Figures> {
      const times: JobTimes[] = [];
      for (let i = 0; i < jobs; i++) times.push(await runJob(devmesh));
      return {
        ...spreadOf(
          "running",
          times.map(({ running }) => running),
        ),
        ...spreadOf(
          "sent",
          times.map(({ sent }) => sent),
        ),
        ...spreadOf(
          "whole",
          times.map(({ whole }) => whole),
        ),
      };
    },
    async close() {
      devmesh.close();
      await platform.close();
    },
  };
}

/** Runs `true` to its result. Throws if it does not succeed. */
export async function runJob(devmesh: NodeDevmesh): Promise<JobTimes> {
  const sentAt = Date.now();
  const startedAt = performance.now();
  const { jobId } = await devmesh.jobs.create({ command: ["true"] });
  let acceptedAt = Number.NaN;
  let runningAt = Number.NaN;
  for await (const event of devmesh.jobs.watch(jobId)) {
    const { kind } = event;
    if (kind.case === "status" && kind.value.status === JobStatus.QUEUED) acceptedAt = stamp(event);
    if (kind.case === "status" && kind.value.status === JobStatus.RUNNING) runningAt = stamp(event);
    if (kind.case === "result" && kind.value.outcome !== JobStatus.SUCCEEDED) {
      throw new Error(`${jobId}: ${kind.value.reason}: ${kind.value.message}`);
    }
  }
  return {
    running: runningAt - acceptedAt,
    sent: runningAt - sentAt,
    whole: performance.now() - startedAt,
  };
}

function stamp({ time }: JobEvent): number {
  return Number(time?.seconds ?? Number.NaN) * 1000 + (time?.nanos ?? 0) / 1e6;
}

function spreadOf(name: string, values: readonly number[]): Figures {
  return { [`${name}P50Ms`]: percentile(values, 0.5), [`${name}P99Ms`]: percentile(values, 0.99) };
}

/** The floor: accept and claim as two transactions each, with nothing around them. */
export function bareSqlite(jobs: number): System {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-bench-"));
  const db = new DatabaseSync(join(folder, "bare.db"));
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT NOT NULL, created_at TEXT) WITHOUT ROWID;
    CREATE INDEX queued ON jobs (id) WHERE status = 'queued';
    CREATE TABLE events (job TEXT, seq INTEGER, ts TEXT, kind TEXT, PRIMARY KEY (job, seq)) WITHOUT ROWID`);
  const accept = db.prepare("INSERT INTO jobs VALUES (?1, 'queued', ?2)");
  const note = db.prepare("INSERT INTO events VALUES (?1, ?2, ?3, 'status')");
  const claim = db.prepare(`UPDATE jobs SET status = 'running'
    WHERE id = (SELECT id FROM jobs WHERE status = 'queued' ORDER BY id LIMIT 1) RETURNING id`);
  const commit = (work: () => void) => {
    db.exec("BEGIN IMMEDIATE");
    work();
    db.exec("COMMIT");
  };
  return {
    name: "bare SQLite insert and claim",
    async round(round): Promise<Figures> {
      const times: number[] = [];
      for (let i = 0; i < jobs; i++) {
        const id = `job_${round}_${String(i).padStart(6, "0")}`;
        const startedAt = performance.now();
        const now = new Date().toISOString();
        commit(() => {
          accept.run(id, now);
          note.run(id, 1, now);
        });
        commit(() => {
          claim.get();
          note.run(id, 2, now);
        });
        times.push(performance.now() - startedAt);
        // A claim that is late is late here too: the loop turns between jobs.
        await new Promise((resolve) => setImmediate(resolve));
      }
      return spreadOf("running", times);
    },
    async close() {
      db.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
