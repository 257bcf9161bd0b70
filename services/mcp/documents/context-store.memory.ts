/** The context store in this process' memory, with its own small BM25; gone with the process. */
import { notFound } from "@devmesh/mesh/errors";
import type { Chunk } from "../chunks/chunk.ts";
import { checkDimensions, type IndexVersion, type VectorSpace } from "../vectors/index-version.ts";
import {
  type ChunkVector,
  type ContextStore,
  isImpossible,
  type KnownDocument,
  type PendingChunk,
  type PutOutcome,
  type RankedChunk,
  type SearchFilter,
  type StoreCounts,
  type StoredChunk,
} from "./context-store.ts";
import type { Document, DocumentKey } from "./document.ts";
import { hiddenWords, type QueryTerm, wordsOf } from "./words.ts";

interface KeptDocument {
  readonly document: Document;
  readonly chunkIds: readonly string[];
}

interface KeptChunk {
  readonly chunk: PendingChunk;
  readonly documentKey: string;
  /** What is searched, with a space on both sides of each word; a field is in it as often as it weighs. */
  readonly words: string;
  readonly length: number;
}

/** Saturation of a term's frequency, and how much a chunk's length counts (Robertson's k1 and b). */
const k1 = 1.2;
const b = 0.75;

/** A real store for tests and for devmesh without a disk. */
export class MemoryContextStore implements ContextStore {
  readonly #documents = new Map<string, KeptDocument>();
  readonly #chunks = new Map<string, KeptChunk>();
  readonly #versions = new Map<string, IndexVersion>();
  readonly #vectors = new Map<string, Map<string, Float32Array>>();
  #sequence = 0;

  async known(keys: readonly DocumentKey[]): Promise<KnownDocument[]> {
    return keys.flatMap((key) => {
      const kept = this.#documents.get(keyText(key));
      if (kept === undefined) return [];
      const { collection, source, contentHash } = kept.document;
      return [{ collection, source, contentHash, chunks: kept.chunkIds.length }];
    });
  }

  async putDocument(document: Document, chunks: readonly Chunk[]): Promise<PutOutcome> {
    const key = keyText(document);
    const before = this.#documents.get(key);
    const chunkIds = chunks.map((chunk) => chunk.id);
    const staying = new Set(chunkIds);
    const removedChunkIds = (before?.chunkIds ?? []).filter((id) => !staying.has(id));
    for (const id of removedChunkIds) this.#removeChunk(id);
    this.#documents.set(key, { document, chunkIds });
    for (const chunk of chunks) this.#putChunk(key, document, chunk);
    return { added: before === undefined, removedChunkIds };
  }

  #removeChunk(id: string): void {
    this.#chunks.delete(id);
    for (const vectors of this.#vectors.values()) vectors.delete(id);
  }

  #putChunk(documentKey: string, document: Document, chunk: Chunk): void {
    const { collection, source, localOnly } = document;
    this.#sequence += 1;
    const sequence = this.#chunks.get(chunk.id)?.chunk.sequence ?? this.#sequence;
    const { title, text } = chunk;
    const fields = [title, title, title, source, source, text];
    const words = [...fields, hiddenWords(`${source} ${title} ${text}`)].flatMap(wordsOf).map(stem);
    this.#chunks.set(chunk.id, {
      chunk: { ...chunk, collection, source, localOnly, sequence },
      documentKey,
      words: ` ${words.join("  ")} `,
      length: words.length,
    });
  }

  async searchWords(
    terms: readonly QueryTerm[],
    filter: SearchFilter,
    limit: number,
  ): Promise<RankedChunk[]> {
    const all = [...this.#chunks.values()];
    const meanLength = all.reduce((sum, { length }) => sum + length, 0) / Math.max(1, all.length);
    const scores = new Map<KeptChunk, number>();
    for (const { words } of terms) {
      const needle = ` ${words.map(stem).join("  ")} `;
      const found = all.flatMap((kept) => {
        const times = kept.words.split(needle).length - 1;
        return times === 0 ? [] : [{ kept, times }];
      });
      const idf = Math.log(1 + (all.length - found.length + 0.5) / (found.length + 0.5));
      for (const { kept, times } of found) {
        const norm = k1 * (1 - b + (b * kept.length) / meanLength);
        const score = (idf * times * (k1 + 1)) / (times + norm);
        scores.set(kept, (scores.get(kept) ?? 0) + score);
      }
    }
    return [...scores]
      .filter(([kept]) => this.#passes(kept, filter))
      .sort(([a, x], [c, y]) => y - x || a.chunk.sequence - c.chunk.sequence)
      .slice(0, limit)
      .map(([kept, score]) => ({ id: kept.chunk.id, score }));
  }

  async chunks(ids: readonly string[], filter: SearchFilter): Promise<StoredChunk[]> {
    return ids.flatMap((id) => {
      const kept = this.#chunks.get(id);
      if (kept === undefined || !this.#passes(kept, filter)) return [];
      const { sequence: _, ...chunk } = kept.chunk;
      return [chunk];
    });
  }

  async chunkIds(filter: SearchFilter, limit: number): Promise<string[]> {
    return [...this.#chunks.values()]
      .filter((kept) => this.#passes(kept, filter))
      .slice(0, limit)
      .map(({ chunk }) => chunk.id);
  }

  #passes({ chunk, documentKey }: KeptChunk, filter: SearchFilter): boolean {
    if (isImpossible(filter)) return false;
    const { collections, sourcePrefix } = filter;
    if (collections.length > 0 && !collections.includes(chunk.collection)) return false;
    if (!chunk.source.startsWith(sourcePrefix)) return false;
    const metadata = this.#documents.get(documentKey)?.document.metadata ?? {};
    return Object.entries(filter.metadata).every(
      ([key, value]) => Object.hasOwn(metadata, key) && metadata[key] === value,
    );
  }

  async counts(): Promise<StoreCounts> {
    return { documents: this.#documents.size, chunks: this.#chunks.size };
  }

  async indexVersions(): Promise<IndexVersion[]> {
    return [...this.#versions.values()];
  }

  async addIndexVersion(space: VectorSpace): Promise<void> {
    if (this.#versions.has(space.id)) return;
    const { id, model, dimensions } = space;
    this.#versions.set(id, { id, model, dimensions, state: "building" });
    this.#vectors.set(id, new Map());
  }

  async promoteIndexVersion(id: string): Promise<void> {
    if (!this.#versions.has(id)) throw notFound("index version", id);
    for (const version of this.#versions.values()) {
      const state = version.id === id ? "current" : "building";
      this.#versions.set(version.id, { ...version, state });
    }
  }

  async dropIndexVersion(id: string): Promise<void> {
    this.#versions.delete(id);
    this.#vectors.delete(id);
  }

  async pending(query: {
    readonly versionId: string;
    readonly after: number;
    readonly limit: number;
  }): Promise<PendingChunk[]> {
    const vectors = this.#vectors.get(query.versionId);
    return [...this.#chunks.values()]
      .map(({ chunk }) => chunk)
      .filter(({ id, sequence }) => sequence > query.after && vectors?.has(id) !== true)
      .sort((a, c) => a.sequence - c.sequence)
      .slice(0, query.limit);
  }

  async putVectors(versionId: string, vectors: readonly ChunkVector[]): Promise<string[]> {
    const version = this.#versions.get(versionId);
    const kept = this.#vectors.get(versionId);
    if (version === undefined || kept === undefined) throw notFound("index version", versionId);
    for (const { vector } of vectors) checkDimensions(version, vector);
    const there = vectors.filter(({ chunkId }) => this.#chunks.has(chunkId));
    for (const { chunkId, vector } of there) kept.set(chunkId, vector);
    return there.map(({ chunkId }) => chunkId);
  }

  async countVectors(versionId: string): Promise<number> {
    return this.#vectors.get(versionId)?.size ?? 0;
  }

  async vectorIds(versionId: string, after: string, limit: number): Promise<string[]> {
    return [...(this.#vectors.get(versionId)?.keys() ?? [])]
      .filter((id) => id > after)
      .sort()
      .slice(0, limit);
  }

  async vectors(versionId: string, chunkIds: readonly string[]): Promise<ChunkVector[]> {
    const vectors = this.#vectors.get(versionId);
    return chunkIds.flatMap((chunkId) => {
      const vector = vectors?.get(chunkId);
      return vector === undefined ? [] : [{ chunkId, vector }];
    });
  }

  async close(): Promise<void> {}
}

const keyText = ({ collection, source }: DocumentKey) => `${collection}:${source}`;

/** The plural only; what the SQL dialects' stemmers do beyond it is not asked of a fake. */
const stem = (word: string) => (word.length > 3 && word.endsWith("s") ? word.slice(0, -1) : word);
