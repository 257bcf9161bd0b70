/**
 * Owns the packed form of large images that are mostly empty: the runs that hold something,
 * one after the other, with an index and a digest. Where packs lie is left to their users.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";

/** Offset and length of a part of an image, in bytes. */
export type Run = readonly [at: number, bytes: number];

/** What is in a pack. */
export interface PackIndex {
  /** Of the image, holes and all. */
  readonly size: number;
  /** In ascending order; all else is zeros. */
  readonly runs: readonly Run[];
  /** SHA-256 of the pack, in hex. */
  readonly sha256: string;
}

const pageBytes = 4096;
const chunkBytes = 4 << 20;
/** Shorter holes are packed as they are: each run costs a call when it is unpacked. */
const leastHole = 64 << 10;
const zeros = Buffer.alloc(pageBytes);

/**
 * Packs `source` into `target`. `extents` are the parts that may hold something, in order;
 * what lies outside of them is not looked at.
 */
export async function packImage(
  source: FileHandle,
  size: number,
  extents: readonly Run[],
  target: FileHandle,
): Promise<PackIndex> {
  const runs = await fullRuns(source, size, extents);
  const hash = createHash("sha256");
  let to = 0;
  for (const run of runs) {
    for await (const part of partsOf(source, run)) {
      hash.update(part);
      await target.write(part, 0, part.length, to);
      to += part.length;
    }
  }
  return { size, runs, sha256: hash.digest("hex") };
}

/** Unpacks into an empty `target`. Throws when the pack is not what its index says. */
export async function unpackImage(
  pack: FileHandle,
  { size, runs, sha256 }: PackIndex,
  target: FileHandle,
): Promise<void> {
  const hash = createHash("sha256");
  await target.truncate(size);
  let from = 0;
  for (const [at, bytes] of runs) {
    let to = at;
    for await (const part of partsOf(pack, [from, bytes])) {
      hash.update(part);
      await target.write(part, 0, part.length, to);
      to += part.length;
    }
    from += bytes;
  }
  if (hash.digest("hex") !== sha256) throw new Error("the pack is not what its index says");
}

/** The whole pack. Throws when it is not what its index says. */
export async function loadPack(pack: FileHandle, { runs, sha256 }: PackIndex): Promise<Buffer> {
  const bytes = runs.reduce((sum, [, length]) => sum + length, 0);
  const parts: Buffer[] = [];
  for await (const part of partsOf(pack, [0, bytes])) parts.push(Buffer.from(part));
  const all = Buffer.concat(parts);
  if (createHash("sha256").update(all).digest("hex") !== sha256) {
    throw new Error("the pack is not what its index says");
  }
  return all;
}

/** Writes a loaded pack into an empty `target`. */
export async function writePack(
  pack: Buffer,
  { size, runs }: PackIndex,
  target: FileHandle,
): Promise<void> {
  await target.truncate(size);
  let from = 0;
  const writes = runs.map(([at, bytes]) => {
    from += bytes;
    return target.write(pack, from - bytes, bytes, at);
  });
  await Promise.all(writes);
}

async function fullRuns(source: FileHandle, size: number, extents: readonly Run[]): Promise<Run[]> {
  const runs: [number, number][] = [];
  for (const [start, length] of extents) {
    let at = start;
    for await (const part of partsOf(source, [start, Math.min(length, size - start)])) {
      for (let page = 0; page < part.length; page += pageBytes) {
        const end = Math.min(page + pageBytes, part.length);
        if (part.compare(zeros, 0, end - page, page, end) === 0) continue;
        const last = runs.at(-1);
        if (last && at + page - (last[0] + last[1]) < leastHole) last[1] = at + end - last[0];
        else runs.push([at + page, end - page]);
      }
      at += part.length;
    }
  }
  return runs;
}

/** The bytes of a run in pieces; each is valid until the next. Throws when the file is shorter. */
async function* partsOf(file: FileHandle, [at, bytes]: Run): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, Math.max(bytes, 0)));
  for (let done = 0; done < bytes; ) {
    const want = Math.min(buffer.length, bytes - done);
    const { bytesRead } = await file.read(buffer, 0, want, at + done);
    if (bytesRead === 0) throw new Error("the image is shorter than its index says");
    yield buffer.subarray(0, bytesRead);
    done += bytesRead;
  }
}
