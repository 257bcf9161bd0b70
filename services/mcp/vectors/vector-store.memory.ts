/** Exact search over vectors in this process' memory; gone with the process. */
import type { ChunkVector, RankedChunk } from "../documents/context-store.ts";
import { checkDimensions, type VectorSpace } from "./index-version.ts";
import { nearest } from "./nearest.ts";
import type { VectorStore } from "./vector-store.ts";

/** A real store for tests and for few vectors. */
export class MemoryVectorStore implements VectorStore {
  readonly #spaces = new Map<string, Map<string, ChunkVector>>();

  async upsert(space: VectorSpace, vectors: readonly ChunkVector[]): Promise<void> {
    for (const { vector } of vectors) checkDimensions(space, vector);
    const kept = this.#spaces.get(space.id) ?? new Map<string, ChunkVector>();
    this.#spaces.set(space.id, kept);
    for (const vector of vectors) kept.set(vector.chunkId, vector);
  }

  async remove(space: VectorSpace, ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#spaces.get(space.id)?.delete(id);
  }

  async search(space: VectorSpace, vector: Float32Array, limit: number): Promise<RankedChunk[]> {
    checkDimensions(space, vector);
    return nearest(vector, this.#spaces.get(space.id)?.values() ?? [], limit);
  }

  async ids(space: VectorSpace): Promise<string[]> {
    return [...(this.#spaces.get(space.id)?.keys() ?? [])];
  }

  async count(space: VectorSpace): Promise<number> {
    return this.#spaces.get(space.id)?.size ?? 0;
  }

  async drop(space: VectorSpace): Promise<void> {
    this.#spaces.delete(space.id);
  }

  async close(): Promise<void> {}
}
