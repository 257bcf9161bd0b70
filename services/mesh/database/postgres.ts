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
  /**
   * Called before a schema with data is migrated, while no other process can
   * migrate it. If it throws, nothing is migrated. Default: nothing is done.
   */
  readonly beforeMigration?: (info: MigrationInfo) => Promise<void>;
}

/** A migration that is about to happen. */
export interface MigrationInfo {
  /** Of the schema. */
  readonly pool: Pool;
  readonly schema: string;
  /** The version that the schema has. */
  readonly from: number;
  /** The first version that it will get. */
  readonly to: number;
}

/** One number for all of devmesh: migrations of one schema never run at once. */
const migrationLock = 0x6d657368;

/**
 * Connects and brings the schema up to date, one process at a time. Throws
 * STORE_TOO_NEW, UNAVAILABLE if the server cannot be reached or lets nobody
 * in, or INTERNAL that names a migration which it refuses.
 */
export async function openPostgres(options: PostgresOptions): Promise<Pool> {
  const { schema, migrations, beforeMigration } = options;
  const pool = poolOf(options);
  try {
    await withTransaction(pool, (client) =>
      migratePostgres(client, schema, migrations, async (versions) => {
        await beforeMigration?.({ pool, schema, ...versions });
      }),
    );
  } catch (cause) {
    await pool.end();
    if (cause instanceof DevmeshError) throw cause;
    const why = cause instanceof DatabaseError ? ` (it says: ${cause.message})` : "";
    const text = `cannot reach the Postgres of STORAGE_URL${why}`;
    throw new DevmeshError("UNAVAILABLE", text, { cause });
  }
  return pool;
}

/** A pool of connections to a schema, which need not be there yet. */
export function poolOf(options: Pick<PostgresOptions, "url" | "schema" | "maxConnections">): Pool {
  const { url, schema, maxConnections = 10 } = options;
  const pool = new Pool({
    connectionString: url,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    options: `-c search_path=${schema}`,
  });
  // A connection that breaks while idle is replaced at its next use.
  pool.on("error", () => {});
  // One that breaks in somebody's hands between two statements fails the next of them.
  pool.on("connect", (client) => client.on("error", () => {}));
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

/** Waits until no other process makes or migrates a schema; held until the transaction ends. */
export async function lockSchemas(client: PoolClient): Promise<void> {
  await client.query("SELECT pg_advisory_xact_lock($1)", [migrationLock]);
}

/**
 * Brings a schema up to date in the transaction of a connection, one process
 * at a time. `before` is called ahead of the first migration of a schema that
 * has had others. Throws as `pendingMigrations` does.
 */
export async function migratePostgres(
  client: PoolClient,
  schema: string,
  known: readonly Migration[],
  before?: (versions: { readonly from: number; readonly to: number }) => Promise<void>,
): Promise<void> {
  await lockSchemas(client);
  await client.query(`CREATE SCHEMA IF NOT EXISTS "${schema}"`);
  await client.query(`CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    reader integer
  )`);
  const { rows } = await client.query<AppliedMigration>(
    "SELECT version, checksum, to_jsonb(m) ->> 'reader' AS reader FROM schema_migrations m",
  );
  const applied = rows.map((row) => ({ ...row, reader: row.reader && Number(row.reader) }));
  const pending = pendingMigrations(`schema ${schema}`, known, applied);
  const [next] = pending;
  if (next === undefined) return;
  if (applied.length > 0) await before?.({ from: applied.length, to: next.version });
  // Stores of the first versions have no readers. Not before: it would keep `before` waiting.
  await client.query("ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS reader integer");
  for (const migration of pending) {
    try {
      await client.query(migration.sql);
    } catch (cause) {
      if (isRefusal(cause)) throw migrationFailed(`schema ${schema}`, migration, cause);
      throw cause;
    }
    await client.query(
      "INSERT INTO schema_migrations (version, name, checksum, reader) VALUES ($1, $2, $3, $4)",
      [migration.version, migration.name, migration.checksum, migration.reader],
    );
  }
}
