/** The blob store in memory: gone with the process. */
import { notFound } from "@devmesh/mesh/errors";
import { checkContent, defaultMaxBytes, pieceBytes } from "./blob-content.ts";
import type { BlobStore } from "./blob-store.ts";

/** Blobs in this process. */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #maxBytes: number;

  /** `maxBytes`: the largest blob. Default: 1 GiB. */
  constructor({ maxBytes = defaultMaxBytes }: { readonly maxBytes?: number } = {}) {
    this.#maxBytes = maxBytes;
  }

  async put(sha256: string, data: AsyncIterable<Uint8Array>): Promise<{ sizeBytes: number }> {
    const pieces: Uint8Array[] = [];
    const sizeBytes = await checkContent(sha256, data, this.#maxBytes, (piece) =>
      pieces.push(piece.slice()),
    );
    this.#blobs.set(sha256, Buffer.concat(pieces));
    return { sizeBytes };
  }

  async stat(sha256: string): Promise<number | undefined> {
    return this.#blobs.get(sha256)?.byteLength;
  }

  async *get(sha256: string): AsyncIterable<Uint8Array> {
    const blob = this.#blobs.get(sha256);
    if (blob === undefined) throw notFound("blob", sha256);
    for (let at = 0; at < blob.byteLength; at += pieceBytes) {
      yield blob.slice(at, at + pieceBytes);
    }
  }

  async *list(): AsyncIterable<string> {
    yield* [...this.#blobs.keys()].sort();
  }
}
