/**
 * The blob store in a folder: `ab/cdef…` by the hash. What is there is whole:
 * a blob is written beside, made durable, and only then given its name.
 */
import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { notFound } from "@devmesh/mesh/errors";
import { checkContent, defaultMaxBytes, isBlobName, pieceBytes } from "./blob-content.ts";
import type { BlobStore } from "./blob-store.ts";

/** Where blobs live, and how large they may be. */
export interface FsBlobStoreOptions {
  /** Made if it is missing. Belongs to one process. */
  readonly folder: string;
  /** The largest blob. Default: 1 GiB. */
  readonly maxBytes?: number;
}

/** Blobs in a folder. */
export class FsBlobStore implements BlobStore {
  readonly #folder: string;
  readonly #maxBytes: number;

  private constructor({ folder, maxBytes = defaultMaxBytes }: FsBlobStoreOptions) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  /** Opens the folder, and removes what puts that were cut off have left. */
  static async open(options: FsBlobStoreOptions): Promise<FsBlobStore> {
    const incoming = join(options.folder, "incoming");
    await rm(incoming, { recursive: true, force: true });
    await mkdir(incoming, { recursive: true, mode: 0o700 });
    return new FsBlobStore(options);
  }

  async put(sha256: string, data: AsyncIterable<Uint8Array>): Promise<{ sizeBytes: number }> {
    // A blob that is there is not written again, but its sender is held to the hash all the same.
    if ((await this.stat(sha256)) !== undefined) {
      return { sizeBytes: await checkContent(sha256, data, this.#maxBytes, () => {}) };
    }
    const incoming = join(this.#folder, "incoming", randomUUID());
    const file = await open(incoming, "wx", 0o600);
    try {
      const sizeBytes = await checkContent(sha256, data, this.#maxBytes, (piece) =>
        writeAll(file, piece),
      );
      await file.sync();
      await this.#publish(incoming, this.#path(sha256));
      return { sizeBytes };
    } finally {
      await file.close();
      await rm(incoming, { force: true });
    }
  }

  async stat(sha256: string): Promise<number | undefined> {
    if (!isBlobName(sha256)) return undefined;
    try {
      return (await stat(this.#path(sha256))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async *get(sha256: string): AsyncIterable<Uint8Array> {
    if ((await this.stat(sha256)) === undefined) throw notFound("blob", sha256);
    yield* createReadStream(this.#path(sha256), { highWaterMark: pieceBytes });
  }

  async *list(): AsyncIterable<string> {
    const folders = (await readdir(this.#folder)).filter((name) => /^[0-9a-f]{2}$/.test(name));
    for (const folder of folders.sort()) {
      const names = (await readdir(join(this.#folder, folder))).map((name) => folder + name);
      yield* names.filter(isBlobName).sort();
    }
  }

  async #publish(from: string, path: string): Promise<void> {
    const folder = dirname(path);
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(from, path);
    await syncFolder(folder);
    if (made !== undefined) await syncFolder(this.#folder);
  }

  #path(sha256: string): string {
    return join(this.#folder, sha256.slice(0, 2), sha256.slice(2));
  }
}

async function writeAll(file: FileHandle, piece: Uint8Array): Promise<void> {
  let at = 0;
  while (at < piece.byteLength) at += (await file.write(piece, at)).bytesWritten;
}

/** Makes the names in a folder durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
