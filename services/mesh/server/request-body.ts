/** Reads the body of a plain HTTP request, within a limit, whatever it is packed in. */
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { brotliDecompress, gunzip } from "node:zlib";
import { DevmeshError } from "../errors/index.ts";

/** The encodings that are taken; Connect takes the same. */
const unpackers = new Map([
  ["gzip", promisify(gunzip)],
  ["x-gzip", promisify(gunzip)],
  ["br", promisify(brotliDecompress)],
]);

/**
 * The whole body, unpacked. `encoding` is its `Content-Encoding`; empty: none.
 * Throws CANCELLED if its sender leaves, TOO_LARGE if it is over `maxBytes`
 * packed or unpacked, UNSUPPORTED_MEDIA_TYPE, MALFORMED_BODY.
 */
export async function readBody(
  req: Readable,
  encoding: string,
  maxBytes: number,
): Promise<Uint8Array> {
  const name = encoding.trim().toLowerCase();
  const unpack = unpackers.get(name);
  if (unpack === undefined && name !== "" && name !== "identity") {
    const text = `Content-Encoding: ${JSON.stringify(encoding)} is not taken, gzip and br are`;
    throw new DevmeshError("UNSUPPORTED_MEDIA_TYPE", text, {
      metadata: { field: "Content-Encoding", accept_encoding: "gzip, br" },
    });
  }
  const bytes = await readAll(req, maxBytes);
  if (unpack === undefined || bytes.length === 0) return bytes;
  try {
    // Stops at the limit, however much more there would be.
    return await unpack(bytes, { maxOutputLength: maxBytes });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(maxBytes);
    const text = `the body is not the ${name} that its Content-Encoding says`;
    throw new DevmeshError("MALFORMED_BODY", text, {
      metadata: { field: "Content-Encoding" },
      cause,
    });
  }
}

/**
 * What is too large is refused after as much again was read to no purpose: a
 * client that still sends would miss the refusal.
 */
async function readAll(req: Readable, maxBytes: number): Promise<Buffer> {
  let chunks: Buffer[] = [];
  let size = 0;
  try {
    // The request is not destroyed with the loop: its connection takes the refusal.
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      const bytes = chunk as Buffer;
      size += bytes.length;
      if (size <= maxBytes) chunks.push(bytes);
      else chunks = [];
      if (size > 2 * maxBytes) break;
    }
  } catch (cause) {
    throw new DevmeshError("CANCELLED", "the caller went away", { cause });
  }
  if (size <= maxBytes) return Buffer.concat(chunks);
  throw tooLarge(maxBytes);
}

function tooLarge(maxBytes: number): DevmeshError {
  return new DevmeshError("TOO_LARGE", `the body is larger than ${maxBytes} bytes`, {
    metadata: { limit_bytes: String(maxBytes) },
  });
}
