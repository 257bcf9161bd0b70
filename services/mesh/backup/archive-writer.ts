/**
 * Writes a backup as a gzipped tar with bounded memory: the parts of each
 * section's tables, blobs, then the manifest. It reads only as fast as it is read.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack as createPack, type Pack } from "tar-stream";
import { DevmeshError } from "../errors/index.ts";
import { BlobTally, TableTally } from "./archive-tally.ts";
import type { TablePart } from "./dump.ts";
import { backupFormat, type Manifest, type SectionSummary } from "./manifest.ts";

/** The database of one service. */
export interface BackupSection {
  readonly name: string;
  /** The parts of a table one after the other. */
  readonly parts: AsyncIterable<TablePart>;
}

/** A file named by the SHA-256 of its content. */
export interface BackupBlob {
  readonly sha256: string;
  readonly sizeBytes: number;
  open(): AsyncIterable<Uint8Array>;
}

/** What goes into a backup. */
export interface BackupContent {
  /** The devmesh that writes it. */
  readonly devmesh: string;
  readonly createTime: Date;
  readonly sections: readonly BackupSection[];
  /** Asked for after the last section. */
  readonly blobs?: () => AsyncIterable<BackupBlob>;
  /** What is not in it, in words; asked for at the end. */
  readonly notCovered?: () => readonly string[];
}

/** The largest piece of the archive handed out. */
const pieceBytes = 256 * 1024;

/** The archive's bytes in pieces of at most 256 KiB. Whoever stops reading ends the reading of the sections. */
export async function* writeArchive(
  content: BackupContent,
): AsyncGenerator<Uint8Array, void, undefined> {
  const pack = createPack();
  const gzip = createGzip({ level: 5 });
  const piped = pipeline(Readable.from(pack), gzip);
  const filled = fill(pack, content).catch((error: unknown) => {
    pack.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  });
  // Both are awaited below, or are over because the reader left.
  piped.catch(() => {});
  filled.catch(() => {});
  try {
    for await (const chunk of gzip as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        yield chunk.subarray(at, at + pieceBytes);
      }
    }
  } catch (error) {
    // What filled the archive knows why it broke off.
    await filled;
    throw error;
  } finally {
    pack.destroy(new Error("the reader has left"));
    gzip.destroy();
    await Promise.allSettled([filled, piped]);
  }
}

async function fill(pack: Pack, content: BackupContent): Promise<void> {
  const { devmesh, createTime, sections, blobs, notCovered } = content;
  const summaries: SectionSummary[] = [];
  for (const section of sections) {
    const summary = await addSection(pack, section, createTime);
    if (summary !== undefined) summaries.push(summary);
  }
  const tally = new BlobTally();
  if (blobs !== undefined) {
    for await (const blob of blobs()) {
      await addBlob(pack, blob, createTime);
      tally.add(blob.sha256, blob.sizeBytes);
    }
  }
  const manifest: Manifest = {
    format: backupFormat,
    devmesh,
    createTime: createTime.toISOString(),
    sections: summaries,
    blobs: tally.summary(),
    notCovered: notCovered?.() ?? [],
  };
  const text = Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`);
  await addFile(pack, "manifest.json", text, createTime);
  pack.finalize();
}

/** Undefined for a section that has nothing. */
async function addSection(
  pack: Pack,
  { name, parts }: BackupSection,
  mtime: Date,
): Promise<SectionSummary | undefined> {
  const tallies = new Map<string, { tally: TableTally; lastNumber: bigint | undefined }>();
  let head: { dialect: string; schemaVersion: number } | undefined;
  for await (const { dialect, schemaVersion, table, data, lastNumber } of parts) {
    head ??= { dialect, schemaVersion };
    const { tally } = tallies.get(table) ?? { tally: new TableTally(table) };
    tallies.set(table, { tally, lastNumber });
    if (data.byteLength === 0) continue;
    const number = String(tally.nextPart).padStart(6, "0");
    await addFile(pack, `tables/${name}/${table}/${number}.jsonl`, data, mtime);
    tally.add(data);
  }
  if (head === undefined) return undefined;
  const tables = [...tallies.values()].map(({ tally, lastNumber }) => ({
    ...tally.summary(),
    ...(lastNumber !== undefined && { lastNumber: String(lastNumber) }),
  }));
  return { name, ...head, tables };
}

async function addBlob(pack: Pack, blob: BackupBlob, mtime: Date): Promise<void> {
  const { sha256, sizeBytes: size } = blob;
  const { entry, done } = begin(pack, { name: `blobs/${sha256}`, size, mtime });
  const hash = createHash("sha256");
  for await (const piece of blob.open()) {
    hash.update(piece);
    if (!entry.write(piece)) await Promise.race([once(entry, "drain"), done]);
  }
  entry.end(null);
  await done;
  if (hash.digest("hex") !== sha256) {
    const text = `the blob ${sha256} is damaged: its content has another hash. Take its file away, then try again`;
    throw new DevmeshError("INTERNAL", text, { metadata: { blob: sha256 } });
  }
}

async function addFile(pack: Pack, name: string, data: Uint8Array, mtime: Date): Promise<void> {
  const { entry, done } = begin(pack, { name, size: data.byteLength, mtime });
  entry.end(data);
  await done;
}

function begin(pack: Pack, header: { name: string; size: number; mtime: Date }) {
  const { promise: done, resolve, reject } = Promise.withResolvers<void>();
  // Also rejected where nobody awaits it yet.
  done.catch(() => {});
  const entry = pack.entry({ ...header, mode: 0o600, type: "file" }, (error) =>
    error ? reject(error) : resolve(),
  );
  // An entry that is begun ends with this when its reader leaves.
  entry.on("error", reject);
  return { entry, done };
}
