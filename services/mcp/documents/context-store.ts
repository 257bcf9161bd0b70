/**
 * The port to what is known: documents, chunks, their keyword index, and the
 * vectors as the one truth that vector stores are filled from.
 */
import type { Chunk } from "../chunks/chunk.ts";
import type { IndexVersion, VectorSpace } from "../vectors/index-version.ts";
import { type Collection, type Document, type DocumentKey, isStorable } from "./document.ts";
import type { QueryTerm } from "./words.ts";

/** Which chunks to consider; every part that is given must hold. */
export interface SearchFilter {
  /** Empty: all. */
  readonly collections: readonly Collection[];
  /** Taken as it is, without wildcards. Empty: all. */
  readonly sourcePrefix: string;
  /** Values that the document must have. Empty: all. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Lets everything pass. */
export const noFilter: SearchFilter = { collections: [], sourcePrefix: "", metadata: {} };

/** True if the filter lets everything pass. */
export function isNoFilter(filter: SearchFilter): boolean {
  return (
    filter.collections.length === 0 &&
    filter.sourcePrefix === "" &&
    Object.keys(filter.metadata).length === 0
  );
}

/** What is known of a stored document without reading it. */
export interface KnownDocument extends DocumentKey {
  readonly contentHash: string;
  readonly chunks: number;
}

/** What became of a write. */
export interface PutOutcome {
  readonly added: boolean;
  /** Chunks that are gone: their vectors are to leave the vector store. */
  readonly removedChunkIds: readonly string[];
}

/** A chunk with its document's facts. */
export interface StoredChunk extends Chunk, DocumentKey {
  readonly localOnly: boolean;
}

/** A chunk in a ranking; a higher score is better. */
export interface RankedChunk {
  readonly id: string;
  readonly score: number;
}

/** A chunk that waits for its vector. */
export interface PendingChunk extends StoredChunk {
  /** Rises with every chunk that is added: a cursor. */
  readonly sequence: number;
}

/** A chunk's vector. */
export interface ChunkVector {
  readonly chunkId: string;
  readonly vector: Float32Array;
}

/** How much there is. */
export interface StoreCounts {
  readonly documents: number;
  readonly chunks: number;
}

/** Keeps documents and everything that is derived from them. Throws UNAVAILABLE when it cannot. */
export interface ContextStore {
  /** Those of the documents that are there. */
  known(keys: readonly DocumentKey[]): Promise<KnownDocument[]>;

  /**
   * Adds or replaces a document and its chunks in one transaction. Chunks
   * whose id stays keep their vectors.
   */
  putDocument(document: Document, chunks: readonly Chunk[]): Promise<PutOutcome>;

  /** The best chunks by words, best first. Any term matches; no terms match nothing. */
  searchWords(
    terms: readonly QueryTerm[],
    filter: SearchFilter,
    limit: number,
  ): Promise<RankedChunk[]>;

  /** Those of the chunks that are there and pass the filter, in no order. */
  chunks(ids: readonly string[], filter: SearchFilter): Promise<StoredChunk[]>;

  /** The ids of at most `limit` chunks that pass the filter. */
  chunkIds(filter: SearchFilter, limit: number): Promise<string[]>;

  /** How much there is. */
  counts(): Promise<StoreCounts>;

  /** The index versions: at most one `current`. */
  indexVersions(): Promise<IndexVersion[]>;

  /** Starts a version in state `building`; does nothing if it is there. */
  addIndexVersion(space: VectorSpace): Promise<void>;

  /** Makes a version the current one and the one before it `building`, in one transaction. */
  promoteIndexVersion(id: string): Promise<void>;

  /** Forgets a version and its vectors. */
  dropIndexVersion(id: string): Promise<void>;

  /** Chunks without a vector of the version, by rising sequence after `after`. */
  pending(query: {
    readonly versionId: string;
    readonly after: number;
    readonly limit: number;
  }): Promise<PendingChunk[]>;

  /**
   * Keeps vectors; answers the ids of chunks that are still there. Throws
   * DIMENSION_MISMATCH for a vector that is not of the version, and NOT_FOUND
   * for a version that is not there.
   */
  putVectors(versionId: string, vectors: readonly ChunkVector[]): Promise<string[]>;

  /** How many vectors a version has. */
  countVectors(versionId: string): Promise<number>;

  /** The ids of chunks with a vector of the version, by id after `after`. */
  vectorIds(versionId: string, after: string, limit: number): Promise<string[]>;

  /** The version's vectors of these chunks, in no order. */
  vectors(versionId: string, chunkIds: readonly string[]): Promise<ChunkVector[]>;

  /** Ends connections. */
  close(): Promise<void>;
}

/** True if nothing stored can pass the filter, because no store keeps such texts. */
export function isImpossible(filter: SearchFilter): boolean {
  const texts = [filter.sourcePrefix, ...Object.entries(filter.metadata).flat()];
  return !texts.every(isStorable);
}
