/** Where the backend's stores can be, one line each, empty for every test that asks. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import type { Found } from "../../scripts/parts/part.ts";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { openStores, postgresSchema, type Stores } from "../../services/api/stores.ts";
import { TestClock, TestRandom } from "../../services/mesh/runtime/index.ts";
import { log, need } from "../parts/need.ts";

/** One kind of place. */
export interface StorePlace {
  /** Empty stores. Ends what was opened before. */
  fresh(): Promise<Stores>;
  /** The same stores opened once more, as another process has them where there can be one. */
  again(): Promise<Stores>;
  /** Lets the stores' clock go on by a millisecond at least. */
  tick(): Promise<void>;
  /**
   * Lets the jobs' clock go on: where the server has its own, what it has
   * stamped becomes that much older.
   */
  advance(ms: number): Promise<void>;
  /** What the stores draw for waits, from 0 up to, and not including, 1. Starts as 0. */
  readonly random: TestRandom;
  /** Ends it all. */
  end(): Promise<void>;
}

/** Every implementation. A place that cannot be had skips the suite with the reason. */
export const storePlaces: Record<string, (context: Mocha.Context) => Promise<StorePlace>> = {
  memory: memoryPlace,
  sqlite: sqlitePlace,
  postgres: postgresPlace,
};

let server: Promise<Found<Postgres>> | undefined;

/** One server for all suites, started by the first and ended after the last. */
export async function postgresUrl(context: Mocha.Context): Promise<string> {
  context.timeout(120_000);
  server ??= startPostgres({ log });
  return need(context, await server).url;
}

after(async () => {
  const found = await server;
  if (found?.ok) await found.value.stop();
});

async function memoryPlace(): Promise<StorePlace> {
  const clock = new TestClock();
  const random = new TestRandom();
  const open = () => openStores({ storageUrl: "memory:", dataDir: tmpdir(), clock, random });
  let stores = await open();
  return {
    fresh: async () => {
      stores = await open();
      return stores;
    },
    again: async () => stores,
    tick: async () => clock.advance(1),
    advance: async (ms) => clock.advance(ms),
    random,
    end: () => stores.close(),
  };
}

async function sqlitePlace(): Promise<StorePlace> {
  const clock = new TestClock();
  const random = new TestRandom();
  const root = await mkdtemp(join(tmpdir(), "devmesh-stores-"));
  const opened: Stores[] = [];
  let count = 0;
  const open = async () => {
    const dataDir = join(root, String(count));
    const stores = await openStores({ storageUrl: "sqlite:devmesh.db", dataDir, clock, random });
    opened.push(stores);
    return stores;
  };
  const closeAll = async () => {
    for (const stores of opened.splice(0)) await stores.close();
    await rm(join(root, String(count)), { recursive: true, force: true });
  };
  return {
    fresh: async () => {
      await closeAll();
      count += 1;
      return await open();
    },
    again: open,
    tick: async () => clock.advance(1),
    advance: async (ms) => clock.advance(ms),
    random,
    end: async () => {
      await closeAll();
      await rm(root, { recursive: true, force: true });
    },
  };
}

const older = (column: string) => `${column} = ${column} - $1 * interval '1 millisecond'`;

/** Makes the times that jobs are judged by older. */
const agings = [
  `UPDATE jobs SET ${["available_at", "queue_expires_at", "ended_at"].map(older).join(", ")}`,
  `UPDATE job_leases SET ${older("expires_at")}`,
  `UPDATE job_keys SET ${older("expires_at")}`,
];

async function postgresPlace(context: Mocha.Context): Promise<StorePlace> {
  const url = await postgresUrl(context);
  const dataDir = await mkdtemp(join(tmpdir(), "devmesh-stores-"));
  // Postgres has its own clock: this one is never asked.
  const random = new TestRandom();
  const open = () => openStores({ storageUrl: url, dataDir, clock: new TestClock(), random });
  const stores = await open();
  const others: Stores[] = [];
  const client = new Client({ connectionString: url, options: `-c search_path=${postgresSchema}` });
  await client.connect();
  // Without the triggers that keep the audit's rows.
  await client.query("SET session_replication_role = replica");
  return {
    fresh: async () => {
      for (const other of others.splice(0)) await other.close();
      const ofJobs = "jobs, job_events, job_keys, job_leases, job_fences";
      await client.query(`TRUNCATE ${ofJobs}, tokens, console_links, audit, audit_reports, agents`);
      await client.query("UPDATE audit_head SET id = 0, hash = ''");
      await client.query("UPDATE queue SET paused_at = NULL, pause_detail = ''");
      await client.query("TRUNCATE rate_buckets");
      await client.query("UPDATE settings SET version = 0, value = '{}'");
      return stores;
    },
    again: async () => {
      const other = await open();
      others.push(other);
      return other;
    },
    tick: async () => {
      const start = Date.now();
      while (Date.now() <= start + 1) await new Promise((resolve) => setImmediate(resolve));
    },
    advance: async (ms) => {
      for (const text of agings) await client.query(text, [ms]);
    },
    random,
    end: async () => {
      for (const other of [...others, stores]) await other.close();
      await client.end();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
