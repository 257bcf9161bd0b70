/** Contents on their way into the backend's blob store, and out of it. */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Client } from "@connectrpc/connect";
import type { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { untilAnswered } from "../until-answered.ts";

/** The largest piece of a blob upload. */
export const pieceBytes = 256 * 1024;

/** The blob store, and how long it is waited for. */
export interface BlobAccess {
  readonly blobs: Client<typeof BlobService>;
  readonly clock: Clock;
  /** Aborts when nobody wants the blob any more. */
  readonly signal: AbortSignal;
}

/** Something to upload; its pieces can be read again for another try. */
export interface Content {
  readonly sha256: string;
  readonly sizeBytes: number;
  pieces(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** Bytes as a content. */
export function contentOf(bytes: Buffer): Content {
  return {
    sha256: createHash("sha256").update(bytes).digest("hex"),
    sizeBytes: bytes.length,
    *pieces() {
      for (let at = 0; at < bytes.length; at += pieceBytes)
        yield bytes.subarray(at, at + pieceBytes);
    },
  };
}

/** Stores a content. It is named by itself: an upload that was cut off is safe to repeat. */
export async function storeBlob(
  { blobs, clock, signal }: BlobAccess,
  content: Content,
): Promise<Content> {
  const { sha256 } = content;
  await untilAnswered(
    async () => {
      const { exists } = await blobs.statBlob({ sha256 }, { signal, timeoutMs: 10_000 });
      if (!exists) await blobs.putBlob(requestsOf(content), { signal });
    },
    { clock, signal },
  );
  return content;
}

/** Writes a blob into a file. Throws NOT_FOUND. */
export async function fetchBlob(
  { blobs, clock, signal }: BlobAccess,
  sha256: string,
  path: string,
): Promise<void> {
  await untilAnswered(
    async () => {
      const pieces = blobs.getBlob({ sha256 }, { signal });
      await pipeline(Readable.from(bytesOf(pieces)), createWriteStream(path), { signal });
    },
    { clock, signal },
  );
}

async function* bytesOf(pieces: AsyncIterable<{ readonly data: Uint8Array }>) {
  for await (const { data } of pieces) yield data;
}

async function* requestsOf({ sha256, pieces }: Content) {
  yield { sha256, data: new Uint8Array() };
  for await (const data of pieces()) yield { data };
}
