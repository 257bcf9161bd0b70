/** A backup of a Postgres schema before it is migrated, as a file that `devmesh restore` takes. */
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Pool } from "pg";
import type { MigrationInfo } from "../database/index.ts";
import { writeArchive } from "./archive-writer.ts";
import { openPostgresSnapshot } from "./dump.postgres.ts";
import { dumpParts } from "./dump.ts";

/** What to keep, and where. */
export interface BeforeMigrationOptions {
  /** Made if it is missing. Holds `<section>.before-<version>.tar.gz`, the last three of them. */
  readonly folder: string;
  /** The service's name in backups. */
  readonly section: string;
  /** This devmesh. */
  readonly devmesh: string;
  /** A larger schema is not kept. Default: 1 GiB. */
  readonly maxBytes?: number;
  /** Tables that no backup has. Default: none. */
  readonly skip?: readonly string[];
  /** See `openPostgresSnapshot`. */
  readonly leaveOut?: readonly string[];
  /** Hears that a schema is too large to be kept, and what to do instead. */
  readonly warn: (text: string) => void;
}

/** How many files of one section stay. */
const kept = 3;

/** For `openPostgres`: keeps the schema's tables in a file, and throws if it cannot. */
export function keepBeforeMigration(options: BeforeMigrationOptions) {
  const { folder, section, devmesh, maxBytes = 2 ** 30, skip = [], leaveOut = [], warn } = options;
  return async ({ pool, schema, from, to }: MigrationInfo): Promise<void> => {
    const bytes = await sizeOf(pool);
    if (bytes > maxBytes) {
      warn(
        `schema ${schema} is migrated from version ${from} without a backup: it has ${bytes} bytes, more than ${maxBytes}. Before an upgrade keep one with: pg_dump --schema=${schema}`,
      );
      return;
    }
    const file = join(folder, `${section}.before-${to}.tar.gz`);
    const beside = `${file}.part`;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const snapshot = await openPostgresSnapshot(pool, leaveOut);
    try {
      const archive = writeArchive({
        devmesh,
        createTime: new Date(),
        sections: [{ name: section, parts: dumpParts(snapshot, skip) }],
        notCovered: () => [`everything but the tables of ${section}: kept before a migration`],
      });
      await pipeline(archive, createWriteStream(beside, { mode: 0o600 }));
      await sync(beside);
      await rename(beside, file);
      await sync(folder);
    } finally {
      await snapshot.close();
      await rm(beside, { force: true });
    }
    await dropOld(folder, section);
  };
}

async function sizeOf(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ bytes: string }>(
    `SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::text AS bytes FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`,
  );
  return Number(rows[0]?.bytes);
}

async function dropOld(folder: string, section: string): Promise<void> {
  const versionOf = (name: string) => Number(/\.before-(\d+)\.tar\.gz$/.exec(name)?.[1]);
  const files = (await readdir(folder))
    .filter((name) => name.startsWith(`${section}.before-`) && versionOf(name) > 0)
    .sort((a, b) => versionOf(b) - versionOf(a));
  for (const name of files.slice(kept)) await rm(join(folder, name));
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
