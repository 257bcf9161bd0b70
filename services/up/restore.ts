/** Restores a backup for every service: all of it is prepared before any of it is visible. */
import { existsSync } from "node:fs";
import { rm, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { readApiConfig } from "@devmesh/api/config";
import { checkApiEmpty, prepareApi } from "@devmesh/api/restore";
import { type Manifest, type PreparedRestore, verifyArchive } from "@devmesh/mesh/backup";
import type { Env } from "@devmesh/mesh/config";
import { DevmeshError } from "@devmesh/mesh/errors";
import { holdDataDir } from "./data-dir.ts";

/** What to restore, and where to. */
export interface RestoreOptions {
  /** The backup's file. */
  readonly file: string;
  /** What the services read their configuration from. */
  readonly env: Env;
}

/** What was restored. */
export interface RestoreReport {
  readonly dataDir: string;
  readonly storage: "sqlite" | "postgres";
  readonly rows: number;
  readonly blobs: number;
  /** RFC 3339: the time of the backup. */
  readonly createTime: string;
  /** What is not restored, in words. */
  readonly leftOut: readonly string[];
}

/**
 * Restores a file. Throws ALREADY_EXISTS for a place that is not empty,
 * INVALID_FIELD for a file that is no whole backup, TOO_LARGE where there is
 * no room, STORE_TOO_NEW, UNAVAILABLE; the place is then as it was.
 */
export async function restorePlatform({ file, env }: RestoreOptions): Promise<RestoreReport> {
  const place = readApiConfig(env);
  const { dataDir, storageUrl } = place;
  await checkApiEmpty(place);
  const manifest = await verifyArchive(file, { maxBytes: await roomAt(dataDir) });
  const isNew = !existsSync(dataDir);
  const held = holdDataDir(dataDir);
  try {
    const nowMs = Date.now();
    await commitAll([() => prepareApi({ ...place, path: file, manifest, nowMs })]);
  } catch (error) {
    held.release();
    if (isNew) await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
  held.release();
  return {
    dataDir,
    storage: storageUrl.startsWith("postgres") ? "postgres" : "sqlite",
    rows: rowsOf(manifest),
    blobs: manifest.blobs.count,
    createTime: manifest.createTime,
    leftOut: manifest.notCovered,
  };
}

/** Prepares one after the other, then commits all; a failure abandons what was prepared. */
async function commitAll(prepares: readonly (() => Promise<PreparedRestore>)[]): Promise<void> {
  const waiting: PreparedRestore[] = [];
  try {
    for (const prepare of prepares) waiting.push(await prepare());
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      await next.commit();
      waiting.shift();
    }
  } catch (error) {
    for (const { abandon } of waiting) await abandon();
    throw error;
  }
}

function rowsOf({ sections }: Manifest): number {
  return sections.flatMap(({ tables }) => tables).reduce((sum, { rows }) => sum + rows, 0);
}

/** The free bytes of the disk that a folder is or will be on. */
async function roomAt(folder: string): Promise<number> {
  let at = folder;
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  try {
    const { bavail, bsize } = await statfs(at);
    return bavail * bsize;
  } catch (cause) {
    throw new DevmeshError("UNAVAILABLE", `the disk of ${folder} cannot be read`, { cause });
  }
}
