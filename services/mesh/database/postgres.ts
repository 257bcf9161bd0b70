/** Opens Postgres pools the one way devmesh uses them, and migrates a schema. */
import { DatabaseError, Pool, type PoolClient } from "pg";
import { DevmeshError } from "../errors/index.ts";
import {
  type AppliedMigration,
  type Migration,
  migrationFailed,
  pendingMigrations,
} from "./migrations.ts";

/** Which database, and the schema it shall have. */
export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  /** The Postgres schema that holds the service's tables: one for each service. */
  readonly schema: string;
  readonly migrations: readonly Migration[];
  /** Connections at most. Default: 10. */
  readonly maxConnections?: number;
}

/** One number for all of devmesh: migrations of one schema never run at once. */
const migrationLock = 0x6d657368;

/**
 * Connects and brings the schema up to date, one process at a time. Throws
 * STORE_TOO_NEW, UNAVAILABLE if the server cannot be reached or lets nobody
 * in, or INTERNAL that names a migration which it refuses.
 */
export async function openPostgres(options: PostgresOptions): Promise<Pool> {
  const { url, schema, migrations, maxConnections = 10 } = options;
  const pool = new Pool({
    connectionString: url,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    options: `-c search_path=${schema}`,
  });
  // A connection that breaks while idle is replaced at its next use.
  pool.on("error", () => {});
  try {
    await withTransaction(pool, (client) => migrate(client, schema, migrations));
  } catch (cause) {
    await pool.end();
    if (cause instanceof DevmeshError) throw cause;
    const why = cause instanceof DatabaseError ? ` (it says: ${cause.message})` : "";
    const text = `cannot reach the Postgres of STORAGE_URL${why}`;
    throw new DevmeshError("UNAVAILABLE", text, { cause });
  }
  return pool;
}

/** Runs `work` on one connection between BEGIN and COMMIT; rolls back when it throws. */
export async function withTransaction<T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let broken = false;
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {
      // The connection is gone; the server rolls back by itself.
      broken = true;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

/** True if the server read the statement and refused it: trying again changes nothing. */
function isRefusal(error: unknown): boolean {
  // 08 connection, 40 rolled back, 53 resources, 57P shut down: these pass.
  return error instanceof DatabaseError && !/^(08|40|53|57P)/.test(error.code ?? "");
}

async function migrate(
  client: PoolClient,
  schema: string,
  known: readonly Migration[],
): Promise<void> {
  await client.query("SELECT pg_advisory_xact_lock($1)", [migrationLock]);
  await client.query(`CREATE SCHEMA IF NOT EXISTS "${schema}"`);
  await client.query(`CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  )`);
  const { rows } = await client.query<AppliedMigration>(
    "SELECT version, checksum FROM schema_migrations ORDER BY version",
  );
  for (const migration of pendingMigrations(`schema ${schema}`, known, rows)) {
    try {
      await client.query(migration.sql);
    } catch (cause) {
      if (isRefusal(cause)) throw migrationFailed(`schema ${schema}`, migration, cause);
      throw cause;
    }
    await client.query(
      "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
      [migration.version, migration.name, migration.checksum],
    );
  }
}
