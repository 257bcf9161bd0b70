/**
 * Owns what happens to documents that are offered: checked, compared with what
 * is known, cut, stored. Vectors come later, from the indexer.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Chunk } from "../chunks/chunk.ts";
import type { Chunker } from "../chunks/chunker.ts";
import type { Indexer } from "../indexing/indexer.ts";
import type { ContextStore } from "./context-store.ts";
import { checkDocument, type Document, type DocumentInput, type DocumentKey } from "./document.ts";

/** What became of a document. */
export type IngestOutcome =
  | {
      readonly source: string;
      readonly state: "added" | "updated" | "unchanged";
      readonly chunks: number;
    }
  | { readonly source: string; readonly state: "refused"; readonly error: DevmeshError };

/** What an ingest is made from. */
export interface IngestOptions {
  readonly store: ContextStore;
  readonly chunker: Chunker;
  readonly indexer: Indexer;
}

/** The most documents in one call. */
const maxDocuments = 500;
/** The most text in one call, in UTF-8 bytes. */
const maxIngestBytes = 16 * 1024 * 1024;

/** Documents that are stored before others get their turn. */
const documentsPerTurn = 8;

/** Takes documents in; each is one transaction. */
export class Ingest {
  readonly #store: ContextStore;
  readonly #chunker: Chunker;
  readonly #indexer: Indexer;

  constructor({ store, chunker, indexer }: IngestOptions) {
    this.#store = store;
    this.#chunker = chunker;
    this.#indexer = indexer;
  }

  /**
   * Takes documents in, in order. Throws TOO_LARGE for too many or too much,
   * and UNAVAILABLE when the store fails: what was stored before stays, and
   * the same call may be made again.
   */
  async ingest(inputs: readonly DocumentInput[], signal: AbortSignal): Promise<IngestOutcome[]> {
    checkSize(inputs);
    const checked = inputs.map(check);
    const documents = checked.filter(isAccepted);
    const known = new Map(
      (await this.#store.known(documents)).map((document) => [keyText(document), document]),
    );
    const changed = documents.filter(
      (document) => known.get(keyText(document))?.contentHash !== document.contentHash,
    );
    const chunksOf = this.#chunksAhead(changed);
    const outcomes: IngestOutcome[] = [];
    for (const [i, document] of checked.entries()) {
      signal.throwIfAborted();
      if (i % documentsPerTurn === documentsPerTurn - 1) await nextTurn();
      const source = inputs[i]?.source ?? "";
      if (document instanceof DevmeshError) {
        outcomes.push({ source, state: "refused", error: document });
        continue;
      }
      const key = keyText(document);
      const before = known.get(key);
      if (before?.contentHash === document.contentHash) {
        outcomes.push({ source, state: "unchanged", chunks: before.chunks });
        continue;
      }
      const outcome = await this.#put(document, await chunksOf(document));
      const { contentHash } = document;
      known.set(key, { ...document, contentHash, chunks: outcome.chunks });
      outcomes.push(outcome);
    }
    return outcomes;
  }

  /** Cuts in order, always one document ahead: while one is stored, the next is parsed. */
  #chunksAhead(documents: readonly Document[]): (document: Document) => Promise<Chunk[]> {
    const following = new Map(documents.map((document, i) => [document, documents[i + 1]]));
    const started = new Map<Document, Promise<Chunk[]>>();
    return async (document) => {
      const own = started.get(document) ?? this.#chunker.chunk(document);
      started.delete(document);
      const next = following.get(document);
      if (next !== undefined) started.set(next, this.#chunker.chunk(next));
      return own;
    };
  }

  async #put(document: Document, chunks: readonly Chunk[]) {
    const { added, removedChunkIds } = await this.#store.putDocument(document, chunks);
    this.#indexer.wake(removedChunkIds);
    const state = added ? ("added" as const) : ("updated" as const);
    return { source: document.source, state, chunks: chunks.length };
  }
}

function checkSize(inputs: readonly DocumentInput[]): void {
  const bytes = inputs.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (inputs.length <= maxDocuments && bytes <= maxIngestBytes) return;
  throw new DevmeshError(
    "TOO_LARGE",
    `documents: at most ${maxDocuments} with 16 MiB in one call; send them in several`,
    { metadata: { field: "documents", documents: String(inputs.length), bytes: String(bytes) } },
  );
}

function check(input: DocumentInput): Document | DevmeshError {
  try {
    return checkDocument(input);
  } catch (error: unknown) {
    if (error instanceof DevmeshError) return error;
    throw error;
  }
}

const isAccepted = (checked: Document | DevmeshError): checked is Document =>
  !(checked instanceof DevmeshError);

const keyText = ({ collection, source }: DocumentKey) => `${collection}:${source}`;
