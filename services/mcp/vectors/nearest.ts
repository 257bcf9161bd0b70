/** Exact search: every vector is compared. */
import type { ChunkVector, RankedChunk } from "../documents/context-store.ts";
import { dot } from "./vector-bytes.ts";

/** The `limit` nearest of the given vectors, best first. */
export function nearest(
  vector: Float32Array,
  among: Iterable<ChunkVector>,
  limit: number,
): RankedChunk[] {
  return [...among]
    .map(({ chunkId, vector: other }) => ({ id: chunkId, score: dot(vector, other) }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, limit);
}
