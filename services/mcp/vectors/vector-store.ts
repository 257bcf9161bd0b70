/**
 * The port to the index that finds near vectors. It only serves searches: the
 * vectors themselves are kept by the context store, and an index that is lost
 * is filled again from there.
 */
import type { ChunkVector, RankedChunk } from "../documents/context-store.ts";
import type { VectorSpace } from "./index-version.ts";

/** One collection for each space; a space that was never written to is empty. */
export interface VectorStore {
  /** Adds or replaces vectors of length 1. Throws DIMENSION_MISMATCH, and then adds none. */
  upsert(space: VectorSpace, vectors: readonly ChunkVector[]): Promise<void>;

  /** Removes vectors; ids that are not there are passed over. */
  remove(space: VectorSpace, ids: readonly string[]): Promise<void>;

  /**
   * The nearest by cosine, best first; the score is the cosine. May miss a few
   * of the nearest. Throws DIMENSION_MISMATCH.
   */
  search(space: VectorSpace, vector: Float32Array, limit: number): Promise<RankedChunk[]>;

  /** The ids that are there, in no order. */
  ids(space: VectorSpace): Promise<string[]>;

  /** How many vectors there are. */
  count(space: VectorSpace): Promise<number>;

  /** Forgets a space and everything that is kept for it. */
  drop(space: VectorSpace): Promise<void>;

  /** Keeps what is to be kept and ends threads and connections. */
  close(): Promise<void>;
}
