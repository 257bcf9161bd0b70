/** What every blob store checks of a content while it arrives. */
import { createHash } from "node:crypto";
import { DevmeshError, invalidField } from "@devmesh/mesh/errors";

/** The largest piece that a store hands out. */
export const pieceBytes = 256 * 1024;

/** The largest blob by default: 1 GiB. */
export const defaultMaxBytes = 1 << 30;

/** True if the text can name a blob. */
export function isBlobName(sha256: string): boolean {
  return /^[0-9a-f]{64}$/.test(sha256);
}

/**
 * Passes the pieces on and answers their size. Throws INVALID_FIELD if the
 * content has another hash, TOO_LARGE as soon as it is longer than `maxBytes`.
 */
export async function checkContent(
  sha256: string,
  data: AsyncIterable<Uint8Array>,
  maxBytes: number,
  onPiece: (piece: Uint8Array) => unknown,
): Promise<number> {
  if (!isBlobName(sha256)) throw invalidField("sha256", "must be 64 hex digits in lower case");
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for await (const piece of data) {
    sizeBytes += piece.byteLength;
    if (sizeBytes > maxBytes) {
      throw new DevmeshError("TOO_LARGE", `a blob has at most ${maxBytes} bytes`, {
        metadata: { maxBytes: String(maxBytes) },
      });
    }
    hash.update(piece);
    await onPiece(piece);
  }
  const actual = hash.digest("hex");
  if (actual !== sha256) throw invalidField("sha256", `the content has the hash ${actual}`);
  return sizeBytes;
}
