/** Restores a section into a Postgres schema in one transaction, the schema's making included. */
import type { PoolClient } from "pg";
import { DatabaseError } from "pg";
import { lockSchemas, type Migration, migratePostgres, poolOf } from "../database/index.ts";
import { DevmeshError } from "../errors/index.ts";
import { PostgresLoad } from "./load.postgres.ts";
import {
  loadSection,
  notEmpty,
  type PreparedRestore,
  type RestoreSource,
  sectionOf,
} from "./restore.ts";

/** Where to, and what comes after the rows. */
export interface RestorePostgresOptions {
  readonly source: RestoreSource;
  readonly url: string;
  readonly schema: string;
  readonly migrations: readonly Migration[];
  /** See `openPostgresSnapshot`. Default: none. */
  readonly leaveOut?: readonly string[];
  /** Runs on the restored rows under the newest schema. Default: nothing. */
  readonly finish?: (client: PoolClient) => Promise<void>;
}

/** Throws ALREADY_EXISTS if the schema has tables, UNAVAILABLE. */
export async function checkNoPostgres(url: string, schema: string): Promise<void> {
  await connected({ url, schema }, async (client, end) => {
    try {
      await checkEmpty(client, schema);
    } finally {
      await end();
    }
  });
}

/** Throws ALREADY_EXISTS, INVALID_FIELD, STORE_TOO_NEW, UNAVAILABLE; leaves nothing then. */
export async function preparePostgres(options: RestorePostgresOptions): Promise<PreparedRestore> {
  const { source, url, schema, migrations, leaveOut, finish } = options;
  const { summary, upTo } = sectionOf(source, migrations);
  return await connected({ url, schema }, async (client, end) => {
    const abandon = async () => {
      // Without an answer the server rolls back by itself.
      await client.query("ROLLBACK").catch(() => {});
      await end();
    };
    try {
      await client.query("BEGIN");
      // Whoever restores into the same place at the same time sees it filled.
      await lockSchemas(client);
      await checkEmpty(client, schema);
      await migratePostgres(client, schema, upTo);
      await loadSection(source, summary, await PostgresLoad.open(client, leaveOut));
      await migratePostgres(client, schema, migrations);
      await finish?.(client);
    } catch (error) {
      await abandon();
      throw error;
    }
    return {
      async commit() {
        await client.query("COMMIT");
        await end();
      },
      abandon,
    };
  });
}

async function checkEmpty(client: PoolClient, schema: string): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = $1 ORDER BY tablename",
    [schema],
  );
  const filled: string[] = [];
  for (const { name } of rows) {
    const counted = await client.query<{ rows: string }>(
      `SELECT count(*)::text AS rows FROM "${schema}"."${name}"`,
    );
    if (counted.rows[0]?.rows !== "0") filled.push(`${name} with ${counted.rows[0]?.rows} rows`);
  }
  if (rows.length === 0) return;
  const tables =
    filled.length === 0 ? `${rows.length} empty tables` : `tables ${filled.join(", ")}`;
  throw notEmpty(`the Postgres schema ${schema}`, tables);
}

async function connected<T>(
  { url, schema }: { readonly url: string; readonly schema: string },
  work: (client: PoolClient, end: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const pool = poolOf({ url, schema, maxConnections: 1 });
  let client: PoolClient;
  try {
    client = await pool.connect();
  } catch (cause) {
    await pool.end();
    const why = cause instanceof DatabaseError ? ` (it says: ${cause.message})` : "";
    throw new DevmeshError("UNAVAILABLE", `cannot reach the Postgres of the storage URL${why}`, {
      cause,
    });
  }
  return await work(client, async () => {
    client.release(true);
    await pool.end();
  });
}
