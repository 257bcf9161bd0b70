/** Owns backups as files: downloading one whole, and checking one against its own manifest. */
import { createHash, type Hash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import type { Client } from "@connectrpc/connect";
import { extract } from "tar-stream";
import type { Caller } from "../caller.ts";
import type { BackupService } from "../gen/devmesh/api/v1/backup_service_pb.js";
import type { CallOptions } from "../options.ts";

/** Backups of the server. */
export interface Backups {
  /** A backup made now, as the bytes of a gzipped tar. No time limit unless the call names one. */
  create(options?: CallOptions): AsyncGenerator<Uint8Array, void, undefined>;
}

/** Makes the noun `backups`. */
export function createBackups(client: Client<typeof BackupService>, caller: Caller): Backups {
  return {
    async *create(options) {
      const answers = caller.stream((o) => client.createBackup({}, o), options);
      for await (const { data } of answers) yield data;
    },
  };
}

/** A table in a backup. */
export interface BackupTable {
  /** The service whose table it is. */
  readonly section: string;
  readonly name: string;
  readonly rows: number;
}

/** What a backup holds, after a check of every hash. */
export interface BackupReport {
  /** The devmesh that wrote it. */
  readonly devmesh: string;
  /** RFC 3339. */
  readonly createTime: string;
  readonly tables: readonly BackupTable[];
  readonly blobs: { readonly count: number; readonly bytes: number };
  /** What is not in it, in words. */
  readonly notCovered: readonly string[];
  /** The file's size. */
  readonly sizeBytes: number;
}

/** A file that is no whole backup. */
export class BackupError extends Error {
  override readonly name = "BackupError";
}

/**
 * Makes a backup and writes it to `file`, mode 0600, over an earlier one. The
 * file gets its name when it is whole, durable and checked; a failure leaves
 * nothing. Throws BackupError, and errors of the file system.
 */
export async function downloadBackup(
  devmesh: { readonly backups: Backups },
  file: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<BackupReport> {
  const part = `${file}.${process.pid}.part`;
  try {
    await rm(part, { force: true });
    const target = createWriteStream(part, { mode: 0o600, flags: "wx", flush: true });
    await pipeline(devmesh.backups.create(options), target);
    const report = await verifyBackup(part);
    await rename(part, file);
    await syncFolder(dirname(file));
    return report;
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** Reads a backup to its end. Throws BackupError if it is not what its manifest says. */
export async function verifyBackup(file: string): Promise<BackupReport> {
  const found = new Map<string, { hash: Hash; rows: number }>();
  const blobs = { count: 0, bytes: 0, names: createHash("sha256") };
  let manifest: Buffer | undefined;
  let sizeBytes = 0;
  const entries = extract();
  const source = createReadStream(file);
  source.on("data", (piece) => {
    sizeBytes += piece.length;
  });
  const reading = pipeline([source, createGunzip(), entries]).catch((error: unknown) => {
    entries.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    for await (const entry of entries) {
      const { name, size = 0 } = entry.header;
      const [kind = "", section = "", table = ""] = name.split("/");
      const hash = kind === "tables" ? tableOf(found, `${section}/${table}`) : undefined;
      const own = createHash("sha256");
      const pieces: Uint8Array[] = [];
      for await (const piece of entry as AsyncIterable<Uint8Array>) {
        own.update(piece);
        hash?.hash.update(piece);
        if (hash !== undefined) hash.rows += lineEnds(piece);
        if (name === "manifest.json") pieces.push(piece);
      }
      if (name === "manifest.json") manifest = Buffer.concat(pieces);
      if (kind !== "blobs") continue;
      if (own.digest("hex") !== section) throw new BackupError(`the blob ${section} is damaged`);
      blobs.count += 1;
      blobs.bytes += size;
      blobs.names.update(`${section}\n`);
    }
  } catch (error) {
    if (error instanceof BackupError) throw error;
    const text = error instanceof Error ? error.message : String(error);
    throw new BackupError(`the backup is damaged or cut off: ${text}`, { cause: error });
  } finally {
    source.destroy();
    entries.destroy();
    await reading;
  }
  if (manifest === undefined) throw new BackupError("the backup is cut off: it has no manifest");
  const told = JSON.parse(manifest.toString("utf8")) as Manifest;
  const tables = told.sections.flatMap(({ name: section, tables }) =>
    tables.map((table) => {
      const { hash, rows } = tableOf(found, `${section}/${table.name}`);
      if (rows !== table.rows || hash.digest("hex") !== table.sha256) {
        throw new BackupError(`table ${section}/${table.name} is not what the manifest says`);
      }
      return { section, name: table.name, rows };
    }),
  );
  if (blobs.count !== told.blobs.count || blobs.names.digest("hex") !== told.blobs.sha256) {
    throw new BackupError("the blobs are not what the manifest says");
  }
  const { devmesh, createTime, notCovered } = told;
  const { count, bytes } = blobs;
  return { devmesh, createTime, tables, blobs: { count, bytes }, notCovered, sizeBytes };
}

interface Manifest {
  readonly devmesh: string;
  readonly createTime: string;
  readonly sections: readonly {
    readonly name: string;
    readonly tables: readonly { name: string; rows: number; sha256: string }[];
  }[];
  readonly blobs: { readonly count: number; readonly sha256: string };
  readonly notCovered: readonly string[];
}

function tableOf(found: Map<string, { hash: Hash; rows: number }>, id: string) {
  const table = found.get(id) ?? { hash: createHash("sha256"), rows: 0 };
  found.set(id, table);
  return table;
}

function lineEnds(piece: Uint8Array): number {
  let count = 0;
  for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, at + 1)) count += 1;
  return count;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
