/** One job's log into the store: as runners ship it, and with an event for each line. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { create } from "@bufbuild/protobuf";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { type JobEvent, JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { openStores } from "../services/api/stores.ts";
import { SortableIds, SystemClock } from "../services/mesh/runtime/index.ts";
import type { Figures, System } from "./bench.ts";

/** Lines of one round. */
const lines = 200_000;

/** Lines of one append. */
const batch = 500;

const line = Buffer.from(`2026-01-01T00:00:00.000Z step done: ${"x".repeat(44)}\n`);

/** How a batch of lines becomes events. */
export type LogShape = "chunks" | "an event a line";

/** The backend's store; `storageUrl` as in its configuration. */
export async function storedLog(
  storageUrl: string,
  shape: LogShape,
  stop = async () => {},
): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-bench-"));
  const clock = new SystemClock();
  const stores = await openStores({ storageUrl, dataDir: folder, clock });
  const ids = new SortableIds(clock);
  return {
    name: `devmesh, ${shape}`,
    async round(): Promise<Figures> {
      const work = { case: "command" as const, value: { argv: ["true"] } };
      const spec = create(JobSpecSchema, { work, isolation: Isolation.PROCESS, priority: 1000 });
      await stores.jobs.accept({ id: ids.next("job"), owner: "bench", spec, maxAttempts: 1 });
      const ask = { runnerId: "bench", strongest: Isolation.PROCESS, max: 1, leaseTtlMs: 600_000 };
      const [held] = await stores.jobs.claim(ask);
      if (held === undefined) throw new Error("the job is not there");
      const lease = { jobId: held.job.id, epoch: held.epoch };
      let seq = held.nextSeq;
      const startedAt = performance.now();
      for (let done = 0; done < lines; done += batch) {
        const events = eventsOf(shape, seq);
        await stores.jobs.append(lease, events);
        seq += events.length;
      }
      return { linesPerSecond: (lines * 1000) / (performance.now() - startedAt) };
    },
    async close() {
      await stores.close();
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function eventsOf(shape: LogShape, seq: number): JobEvent[] {
  const pieces =
    shape === "chunks" ? [Buffer.concat(Array(batch).fill(line))] : Array<Buffer>(batch).fill(line);
  return pieces.map((data, i) =>
    create(JobEventSchema, {
      seq: seq + i,
      kind: {
        case: "log",
        value: { $typeName: "devmesh.api.v1.JobLog", stream: LogStream.STDOUT, data },
      },
    }),
  );
}

/** The floor: the same bytes as rows of a bare table, a transaction for each batch. */
export function bareRows(): System {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-bench-"));
  const db = new DatabaseSync(join(folder, "bare.db"));
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE events (job INTEGER, seq INTEGER, data BLOB, PRIMARY KEY (job, seq)) WITHOUT ROWID`);
  const insert = db.prepare("INSERT INTO events VALUES (?1, ?2, ?3)");
  return {
    name: "bare SQLite, a row a line",
    async round(round): Promise<Figures> {
      const startedAt = performance.now();
      for (let done = 0; done < lines; done += batch) {
        db.exec("BEGIN IMMEDIATE");
        for (let i = 0; i < batch; i++) insert.run(round, done + i, line);
        db.exec("COMMIT");
        await new Promise((resolve) => setImmediate(resolve));
      }
      return { linesPerSecond: (lines * 1000) / (performance.now() - startedAt) };
    },
    async close() {
      db.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
