/** Takes apart the one stream that an engine mixes a program's output into. */
import type { Readable } from "node:stream";
import { ByteReader } from "../byte-reader.ts";
import type { OutputChunk } from "../driver.ts";

const headerBytes = 8;

/** The chunks of a mixed stream, in pieces as they come. Ends where the stream ends. */
export async function* frames(source: Readable): AsyncGenerator<OutputChunk> {
  const reader = new ByteReader(source);
  for (;;) {
    const header = await reader.exact(headerBytes);
    if (header.length < headerBytes) return;
    const stream = header[0] === 2 ? "stderr" : "stdout";
    for await (const data of reader.take(header.readUInt32BE(4))) yield { stream, data };
  }
}
