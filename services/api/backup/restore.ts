/**
 * Restores the backend's part of a backup, while no backend runs: tables into
 * an empty SQLite file or Postgres schema, blobs into an empty folder.
 */
import { existsSync } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  checkNoPostgres,
  checkNoSqlite,
  type Manifest,
  notEmpty,
  type PreparedRestore,
  preparePostgres,
  prepareSqlite,
  type RestoreSource,
  readArchive,
} from "@devmesh/mesh/backup";
import { DevmeshError } from "@devmesh/mesh/errors";
import { migrationsOf, openBlobFolder, postgresSchema } from "../stores.ts";
import { afterRestore, textPayloads } from "./backup-tables.ts";

/** Where the backend will find what is restored. */
export interface RestorePlace {
  /** As in `STORAGE_URL`: `sqlite:<path>` or `postgres://…`. */
  readonly storageUrl: string;
  readonly dataDir: string;
}

/** What to restore. */
export interface ApiRestoreOptions extends RestorePlace {
  /** The archive. */
  readonly path: string;
  /** What a check of the archive said. */
  readonly manifest: Manifest;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/** Throws ALREADY_EXISTS, which names what is there, if something is; UNAVAILABLE. */
export async function checkApiEmpty(place: RestorePlace): Promise<void> {
  const blobs = blobFolder(place);
  const found = existsSync(blobs) ? (await readdir(blobs)).filter((n) => n !== "incoming") : [];
  if (found.length > 0) throw notEmpty(blobs, "blobs");
  const path = sqlitePath(place);
  if (path === undefined) await checkNoPostgres(place.storageUrl, postgresSchema);
  else checkNoSqlite(path);
}

/** Throws as `checkApiEmpty` does, INVALID_FIELD and STORE_TOO_NEW; leaves nothing then. */
export async function prepareApi(options: ApiRestoreOptions): Promise<PreparedRestore> {
  await checkApiEmpty(options);
  const tables = await prepareTables(options);
  try {
    const blobs = await prepareBlobs(options);
    return {
      async commit() {
        // Blobs first: a table never names one that is not there.
        await blobs.commit();
        try {
          await tables.commit();
        } catch (error) {
          await rm(blobFolder(options), { recursive: true, force: true });
          throw error;
        }
      },
      async abandon() {
        await blobs.abandon();
        await tables.abandon();
      },
    };
  } catch (error) {
    await tables.abandon();
    throw error;
  }
}

function prepareTables(options: ApiRestoreOptions): Promise<PreparedRestore> {
  const { path: archive, manifest, nowMs, storageUrl } = options;
  const source: RestoreSource = { path: archive, manifest, section: "api" };
  const path = sqlitePath(options);
  if (path !== undefined) {
    return prepareSqlite({
      source,
      path,
      migrations: migrationsOf("sqlite"),
      finish: (db) => {
        const leases = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'job_leases'").get();
        for (const sql of afterRestore(leases !== undefined, nowMs)) db.exec(sql);
        db.exec(textPayloads);
      },
    });
  }
  return preparePostgres({
    source,
    url: storageUrl,
    schema: postgresSchema,
    migrations: migrationsOf("postgres"),
    finish: async (client) => {
      const { rows } = await client.query("SELECT to_regclass('job_leases') AS leases");
      for (const sql of afterRestore(rows[0]?.leases !== null, nowMs)) await client.query(sql);
    },
  });
}

async function prepareBlobs(options: ApiRestoreOptions): Promise<PreparedRestore> {
  const folder = blobFolder(options);
  const beside = `${folder}.restoring`;
  const abandon = () => rm(beside, { recursive: true, force: true });
  await abandon();
  try {
    await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
    // The archive's own bounds hold: a blob is as large as it was when it was taken.
    const store = await openBlobFolder(beside, Number.MAX_SAFE_INTEGER);
    for await (const entry of readArchive(options.path)) {
      if (entry.kind === "blob") await store.put(entry.sha256, entry.content);
    }
  } catch (error) {
    await abandon();
    throw error;
  }
  return {
    async commit() {
      // Empty but for the folder of what arrives: see checkApiEmpty.
      await rm(join(folder, "incoming"), { recursive: true, force: true });
      await rename(beside, folder);
      const parent = await open(dirname(folder), "r");
      try {
        await parent.sync();
      } finally {
        await parent.close();
      }
    },
    abandon,
  };
}

function blobFolder({ dataDir }: RestorePlace): string {
  return join(dataDir, "blobs");
}

/** Undefined for Postgres. Throws CONFIG_INVALID for what is neither. */
function sqlitePath({ storageUrl, dataDir }: RestorePlace): string | undefined {
  if (/^postgres(ql)?:\/\//.test(storageUrl)) return undefined;
  if (storageUrl.startsWith("sqlite:")) {
    return resolve(dataDir, storageUrl.slice("sqlite:".length));
  }
  throw new DevmeshError("CONFIG_INVALID", "a backup restores into sqlite:<path> or postgres://…", {
    metadata: { field: "STORAGE_URL" },
  });
}
