/**
 * Opens all stores of the backend at the one place that `STORAGE_URL` names.
 * What they share, a SQLite file or a Postgres pool, is closed with them.
 */
import { join, resolve } from "node:path";
import { loadMigrations, openPostgres, openSqlite } from "@devmesh/mesh/database";
import { DevmeshError } from "@devmesh/mesh/errors";
import { type Clock, type Random, SystemRandom } from "@devmesh/mesh/runtime";
import { MemoryAgentStore } from "./agents/agent-store.memory.ts";
import { PostgresAgentStore } from "./agents/agent-store.postgres.ts";
import { SqliteAgentStore } from "./agents/agent-store.sqlite.ts";
import type { AgentStore } from "./agents/agent-store.ts";
import { MemoryAuditStore } from "./audit/audit-store.memory.ts";
import { PostgresAuditStore } from "./audit/audit-store.postgres.ts";
import { SqliteAuditStore } from "./audit/audit-store.sqlite.ts";
import type { AuditStore } from "./audit/audit-store.ts";
import { FsBlobStore } from "./blobs/blob-store.fs.ts";
import { MemoryBlobStore } from "./blobs/blob-store.memory.ts";
import type { BlobStore } from "./blobs/blob-store.ts";
import { MemoryJobStore } from "./jobs/job-store.memory.ts";
import { PostgresJobStore } from "./jobs/job-store.postgres.ts";
import { SqliteJobStore } from "./jobs/job-store.sqlite.ts";
import type { JobStore } from "./jobs/job-store.ts";
import { MemoryTokenStore } from "./tokens/token-store.memory.ts";
import { PostgresTokenStore } from "./tokens/token-store.postgres.ts";
import { SqliteTokenStore } from "./tokens/token-store.sqlite.ts";
import type { TokenStore } from "./tokens/token-store.ts";

/** Where the stores are. */
export interface OpenStoresOptions {
  /**
   * `sqlite:<path>` (a relative path is below `dataDir`), `postgres://…`, or
   * `memory:` for tests.
   */
  readonly storageUrl: string;
  /** The folder of what is not in a database: blobs are in its `blobs`. */
  readonly dataDir: string;
  /** The clock of SQLite and memory; Postgres has its own. */
  readonly clock: Clock;
  /** Draws the waits before retries. Default: the machine's. */
  readonly random?: Random;
  /** `full`: on SQLite every commit waits until the disk has it. Default: `normal`. */
  readonly durability?: "normal" | "full";
  /** The largest blob taken, in bytes. Default: 1 GiB. */
  readonly maxBlobBytes?: number;
}

/** All stores of the backend. */
export interface Stores {
  readonly jobs: JobStore;
  readonly tokens: TokenStore;
  readonly audit: AuditStore;
  readonly agents: AgentStore;
  readonly blobs: BlobStore;
  /** Ends connections. */
  close(): Promise<void>;
}

/** The Postgres schema of the backend's tables. */
export const postgresSchema = "devmesh_api";

/**
 * Opens the stores and brings their schema up to date. Throws CONFIG_INVALID
 * for another URL, UNAVAILABLE if the place cannot be reached, STORE_TOO_NEW.
 */
export async function openStores(options: OpenStoresOptions): Promise<Stores> {
  const { storageUrl, dataDir } = options;
  const scheme = storageUrl.slice(0, storageUrl.indexOf(":"));
  switch (scheme) {
    case "memory":
      return openMemory(options);
    case "sqlite":
      return await openFile(options, resolve(dataDir, storageUrl.slice("sqlite:".length)));
    case "postgres":
    case "postgresql":
      return await openServer(options);
    default:
      throw new DevmeshError(
        "CONFIG_INVALID",
        "STORAGE_URL must start with sqlite:, postgres:// or memory:",
        { metadata: { field: "STORAGE_URL" } },
      );
  }
}

/** The migrations of a dialect. */
export function migrationsOf(dialect: "sqlite" | "postgres") {
  return loadMigrations(join(import.meta.dirname, "migrations", dialect));
}

function openMemory({ clock, random = new SystemRandom() }: OpenStoresOptions): Stores {
  const jobs = new MemoryJobStore({ clock, random });
  return {
    jobs,
    tokens: new MemoryTokenStore(),
    audit: new MemoryAuditStore(),
    agents: new MemoryAgentStore({ clock }),
    blobs: new MemoryBlobStore(),
    close: () => jobs.close(),
  };
}

async function openFile(options: OpenStoresOptions, path: string): Promise<Stores> {
  const { clock, random = new SystemRandom() } = options;
  const blobs = await openBlobs(options);
  const db = openSqlite({ path, migrations: migrationsOf("sqlite") });
  // 32 MiB hold the pages of a long queue; the log is written back every 16 MiB.
  db.exec("PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4096");
  if (options.durability === "full") db.exec("PRAGMA synchronous = FULL");
  const jobs = new SqliteJobStore({ db, clock, random });
  return {
    jobs,
    tokens: new SqliteTokenStore({ db }),
    audit: new SqliteAuditStore({ db }),
    agents: new SqliteAgentStore({ db, clock }),
    blobs,
    close: async () => {
      await jobs.close();
      db.close();
    },
  };
}

async function openServer(options: OpenStoresOptions): Promise<Stores> {
  const { storageUrl, random = new SystemRandom() } = options;
  const blobs = await openBlobs(options);
  const schema = postgresSchema;
  const pool = await openPostgres({
    url: storageUrl,
    schema,
    migrations: migrationsOf("postgres"),
  });
  const jobs = new PostgresJobStore({ pool, url: storageUrl, random });
  return {
    jobs,
    tokens: new PostgresTokenStore({ pool }),
    audit: new PostgresAuditStore({ pool }),
    agents: new PostgresAgentStore({ pool }),
    blobs,
    close: async () => {
      await jobs.close();
      await pool.end();
    },
  };
}

function openBlobs({ dataDir, maxBlobBytes }: OpenStoresOptions): Promise<BlobStore> {
  return FsBlobStore.open({
    folder: join(dataDir, "blobs"),
    ...(maxBlobBytes !== undefined && { maxBytes: maxBlobBytes }),
  });
}
