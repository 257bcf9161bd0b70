/**
 * Reads a backup and holds it to its own manifest: every entry has its place,
 * every hash and count is right, nothing is missing and nothing is too much.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { extract, type Header } from "tar-stream";
import { DevmeshError } from "../errors/index.ts";
import { BlobTally, TableTally } from "./archive-tally.ts";
import { backupInvalid } from "./backup-invalid.ts";
import { type Manifest, parseManifest, type TableSummary } from "./manifest.ts";

/** One entry of a backup. */
export type ArchiveEntry =
  | {
      readonly kind: "part";
      readonly section: string;
      readonly table: string;
      /** Lines of JSON. */
      readonly data: Buffer;
    }
  | {
      readonly kind: "blob";
      readonly sha256: string;
      readonly sizeBytes: number;
      /** To be read before the next entry; what is not read is skipped and checked all the same. */
      readonly content: AsyncIterable<Uint8Array>;
    }
  /** The last; when it is handed out everything before has been checked. */
  | { readonly kind: "manifest"; readonly manifest: Manifest };

/** The largest part of a table, and the largest manifest. */
const maxHeldBytes = 64 * 1024 * 1024;

/** How to read. */
export interface ReadArchiveOptions {
  /** What the archive may unpack to. Beyond it, TOO_LARGE. Default: without bound. */
  readonly maxBytes?: number;
}

/**
 * The entries of an archive in order. Throws INVALID_FIELD for one that is cut
 * off, damaged, or holds what is not a backup's; TOO_LARGE.
 */
export async function* readArchive(
  path: string,
  { maxBytes = Number.POSITIVE_INFINITY }: ReadArchiveOptions = {},
): AsyncGenerator<ArchiveEntry, void, undefined> {
  const file = createReadStream(path);
  const gunzip = createGunzip();
  const entries = extract();
  file.on("error", (error) => gunzip.destroy(error));
  gunzip.on("error", (error) => entries.destroy(error));
  file.pipe(gunzip).pipe(entries as unknown as NodeJS.WritableStream);
  const check = new ArchiveCheck(maxBytes);
  try {
    for await (const entry of entries) {
      yield* check.entry(entry.header, entry as unknown as Readable);
    }
    check.end();
  } catch (error) {
    throw toRefusal(error);
  } finally {
    file.destroy();
    gunzip.destroy();
    entries.destroy();
  }
}

/** Reads an archive to its end; answers its manifest. Throws as `readArchive` does. */
export async function verifyArchive(
  path: string,
  options: ReadArchiveOptions = {},
): Promise<Manifest> {
  let manifest: Manifest | undefined;
  for await (const entry of readArchive(path, options)) {
    if (entry.kind === "manifest") manifest = entry.manifest;
  }
  if (manifest === undefined) throw backupInvalid("it has no manifest");
  return manifest;
}

class ArchiveCheck {
  readonly #maxBytes: number;
  readonly #tables = new Map<string, TableTally>();
  readonly #blobs = new BlobTally();
  #current = "";
  #bytes = 0;
  #hasManifest = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  async *entry(header: Header, content: Readable): AsyncGenerator<ArchiveEntry, void, undefined> {
    const { name, type, size = 0 } = header;
    const shown = JSON.stringify(name.slice(0, 200));
    if (type !== "file") throw backupInvalid(`its entry ${shown} is no file`);
    if (this.#hasManifest) throw backupInvalid(`its entry ${shown} comes after the manifest`);
    this.#bytes += size;
    if (this.#bytes > this.#maxBytes) {
      throw new DevmeshError(
        "TOO_LARGE",
        `the backup unpacks to more than the ${this.#maxBytes} bytes that there is room for`,
        { metadata: { limit_bytes: String(this.#maxBytes) } },
      );
    }
    if (name === "manifest.json") {
      const manifest = parseManifest((await held(content, size)).toString("utf8"));
      this.#compare(manifest);
      this.#hasManifest = true;
      yield { kind: "manifest", manifest };
      return;
    }
    const part = /^tables\/([a-z]+)\/([a-z][a-z0-9_]*)\/(\d{6,9})\.jsonl$/.exec(name);
    if (part !== null) {
      const [, section = "", table = "", number = ""] = part;
      const data = await held(content, size);
      this.#addPart(`${section}/${table}`, Number(number), data);
      yield { kind: "part", section, table, data };
      return;
    }
    const sha256 = /^blobs\/([0-9a-f]{64})$/.exec(name)?.[1];
    if (sha256 === undefined) throw backupInvalid(`its entry ${shown} is not one of a backup`);
    yield* this.#blob(sha256, size, content);
  }

  end(): void {
    if (!this.#hasManifest) throw backupInvalid("it is cut off: it has no manifest");
  }

  async *#blob(
    sha256: string,
    sizeBytes: number,
    content: Readable,
  ): AsyncGenerator<ArchiveEntry, void, undefined> {
    const hash = createHash("sha256");
    const pieces = (content as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    // Without `return`: a reader that leaves early does not end the entry.
    const next = async () => {
      const piece = await pieces.next();
      if (piece.done !== true) hash.update(piece.value);
      return piece;
    };
    const hashed = { [Symbol.asyncIterator]: () => ({ next }) };
    yield { kind: "blob", sha256, sizeBytes, content: hashed };
    for await (const _ of hashed) {
      // What the reader has left.
    }
    if (hash.digest("hex") !== sha256) throw backupInvalid(`the blob ${sha256} is damaged`);
    this.#blobs.add(sha256, sizeBytes);
  }

  #addPart(id: string, number: number, data: Buffer): void {
    if (id !== this.#current && this.#tables.has(id)) {
      throw backupInvalid(`the parts of table ${id} are not together`);
    }
    this.#current = id;
    const tally = this.#tables.get(id) ?? new TableTally(id);
    this.#tables.set(id, tally);
    if (number !== tally.nextPart) throw backupInvalid(`table ${id} lacks part ${tally.nextPart}`);
    if (data.at(-1) !== 10) throw backupInvalid(`table ${id} has a part that is cut off`);
    tally.add(data);
  }

  #compare({ sections, blobs }: Manifest): void {
    const told = new Map<string, TableSummary>();
    for (const { name, tables } of sections) {
      for (const table of tables) told.set(`${name}/${table.name}`, table);
    }
    for (const id of this.#tables.keys()) {
      if (!told.has(id))
        throw backupInvalid(`it has a table ${id} that its manifest does not name`);
    }
    for (const [id, { rows, parts, sha256 }] of told) {
      const found = (this.#tables.get(id) ?? new TableTally(id)).summary();
      if (found.parts === 0 && parts > 0) throw backupInvalid(`table ${id} is missing`);
      if (found.rows !== rows || found.parts !== parts || found.sha256 !== sha256) {
        throw backupInvalid(`table ${id} is not what the manifest says`);
      }
    }
    const found = this.#blobs.summary();
    if (found.count !== blobs.count || found.bytes !== blobs.bytes) {
      throw backupInvalid(`it has ${found.count} blobs, its manifest names ${blobs.count}`);
    }
    if (found.sha256 !== blobs.sha256)
      throw backupInvalid("its blobs are not those of the manifest");
  }
}

async function held(content: Readable, size: number): Promise<Buffer> {
  if (size > maxHeldBytes) throw backupInvalid(`an entry of ${size} bytes is too large`);
  const pieces: Uint8Array[] = [];
  for await (const piece of content as AsyncIterable<Uint8Array>) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Errors of gzip and tar are the file's; those of devmesh and of the file system stay. */
function toRefusal(error: unknown): unknown {
  if (error instanceof DevmeshError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (/^E[A-Z]+$/.test(code)) {
    return new DevmeshError("INVALID_FIELD", "the backup cannot be read", {
      metadata: { field: "backup", code },
      cause: error,
    });
  }
  const text = error instanceof Error ? error.message : String(error);
  return backupInvalid(`it is damaged or cut off (${text})`, error);
}
