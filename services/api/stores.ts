/**
 * Opens all stores of the backend at the one place that `STORAGE_URL` names.
 * What they share, a SQLite file or a Postgres pool, is closed with them.
 */
import { join, resolve } from "node:path";
import {
  keepBeforeMigration,
  openPostgresSnapshot,
  openSqliteSnapshot,
  type Snapshot,
} from "@devmesh/mesh/backup";
import { loadMigrations, openPostgres, openSqlite } from "@devmesh/mesh/database";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { RateLimiter } from "@devmesh/mesh/interceptors";
import { type Clock, type Random, SystemRandom } from "@devmesh/mesh/runtime";
import { version } from "@devmesh/mesh/version";
import { MemoryAgentStore } from "./agents/agent-store.memory.ts";
import { PostgresAgentStore } from "./agents/agent-store.postgres.ts";
import { SqliteAgentStore } from "./agents/agent-store.sqlite.ts";
import type { AgentStore } from "./agents/agent-store.ts";
import { MemoryAuditStore } from "./audit/audit-store.memory.ts";
import { PostgresAuditStore } from "./audit/audit-store.postgres.ts";
import { SqliteAuditStore } from "./audit/audit-store.sqlite.ts";
import type { AuditStore } from "./audit/audit-store.ts";
import { runtimeTables } from "./backup/backup-tables.ts";
import { FsBlobStore } from "./blobs/blob-store.fs.ts";
import { MemoryBlobStore } from "./blobs/blob-store.memory.ts";
import type { BlobStore } from "./blobs/blob-store.ts";
import { MemoryJobStore } from "./jobs/job-store.memory.ts";
import { PostgresJobStore } from "./jobs/job-store.postgres.ts";
import { SqliteJobStore } from "./jobs/job-store.sqlite.ts";
import type { JobStore } from "./jobs/job-store.ts";
import { MemoryRateLimiter } from "./limits/rate-limiter.memory.ts";
import { PostgresRateLimiter } from "./limits/rate-limiter.postgres.ts";
import { MemorySettingsStore } from "./settings/settings-store.memory.ts";
import { PostgresSettingsStore } from "./settings/settings-store.postgres.ts";
import { SqliteSettingsStore } from "./settings/settings-store.sqlite.ts";
import type { SettingsStore } from "./settings/settings-store.ts";
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
  /** Hears what an operator should know of a migration. Default: nobody. */
  readonly warn?: (text: string) => void;
}

/** All stores of the backend. */
export interface Stores {
  readonly jobs: JobStore;
  readonly tokens: TokenStore;
  readonly audit: AuditStore;
  readonly agents: AgentStore;
  readonly blobs: BlobStore;
  /**
   * The tables as they are now, for a backup; whoever asks closes it. Throws
   * UNIMPLEMENTED for stores in memory.
   */
  snapshot(): Promise<Snapshot>;
  readonly settings: SettingsStore;
  /** Counts calls; on Postgres all replicas count together. */
  readonly limiter: RateLimiter;
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
    snapshot: async () => {
      throw new DevmeshError("UNIMPLEMENTED", "a store in memory has no backups");
    },
    settings: new MemorySettingsStore(),
    limiter: new MemoryRateLimiter({ clock }),
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
    snapshot: async () => openSqliteSnapshot(path),
    settings: new SqliteSettingsStore({ db }),
    limiter: new MemoryRateLimiter({ clock }),
    close: async () => {
      await jobs.close();
      db.close();
    },
  };
}

async function openServer(options: OpenStoresOptions): Promise<Stores> {
  const { storageUrl, dataDir, clock, random = new SystemRandom(), warn = () => {} } = options;
  const blobs = await openBlobs(options);
  const schema = postgresSchema;
  const pool = await openPostgres({
    url: storageUrl,
    schema,
    migrations: migrationsOf("postgres"),
    beforeMigration: keepBeforeMigration({
      folder: join(dataDir, "backups"),
      section: "api",
      devmesh: version,
      skip: runtimeTables,
      warn,
    }),
  });
  const jobs = new PostgresJobStore({ pool, url: storageUrl, random });
  return {
    jobs,
    tokens: new PostgresTokenStore({ pool }),
    audit: new PostgresAuditStore({ pool }),
    agents: new PostgresAgentStore({ pool }),
    blobs,
    snapshot: () => openPostgresSnapshot(pool),
    settings: new PostgresSettingsStore({ pool }),
    limiter: new PostgresRateLimiter({ pool, clock }),
    close: async () => {
      await jobs.close();
      await pool.end();
    },
  };
}

/** Opens a folder of blobs. `maxBytes`: the largest blob taken. Default: 1 GiB. */
export function openBlobFolder(folder: string, maxBytes?: number): Promise<BlobStore> {
  return FsBlobStore.open({ folder, ...(maxBytes !== undefined && { maxBytes }) });
}

function openBlobs({ dataDir, maxBlobBytes }: OpenStoresOptions): Promise<BlobStore> {
  return openBlobFolder(join(dataDir, "blobs"), maxBlobBytes);
}
