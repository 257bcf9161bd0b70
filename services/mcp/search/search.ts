/**
 * Owns how a query is answered: by words and by meaning at once, fused. An arm
 * that cannot run is left out and said so; it does not fail the search.
 */
import { toDevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type {
  ContextStore,
  RankedChunk,
  SearchFilter,
  StoredChunk,
} from "../documents/context-store.ts";
import { namesIn, queryTerms } from "../documents/words.ts";
import { exactNameWorth, ranksOf, reciprocalRank } from "./fusion.ts";
import type { VectorArm } from "./vector-arm.ts";

/** What is searched for. */
export interface SearchQuery {
  readonly query: string;
  /** How many hits at most. */
  readonly topK: number;
  readonly filter: SearchFilter;
}

/** One hit. */
export interface SearchHit {
  readonly chunk: StoredChunk;
  /** The fused score; only comparable within one answer. */
  readonly score: number;
  /** Its place by words, from 1; 0: not in it. */
  readonly keywordRank: number;
  /** Its place by meaning, from 1; 0: not in it. */
  readonly vectorRank: number;
}

/** A ranking arm. */
export type Arm = "keyword" | "vector";

/** Hits and how they were found. */
export interface SearchAnswer {
  /** Best first. */
  readonly hits: readonly SearchHit[];
  /** The arms that ran. */
  readonly arms: readonly Arm[];
  /** The embedding model of the vector arm. Empty: it did not run. */
  readonly embeddingModel: string;
  /** Why an arm did not run. Empty: all ran. */
  readonly degraded: string;
}

/** What a search is made from. */
export interface SearchOptions {
  readonly store: ContextStore;
  readonly vectorArm: VectorArm;
  readonly logger: Logger;
}

/** Each arm looks at least this deep: fusion wants more than the places that are shown. */
const minDepth = 100;

/** Answers queries over everything in the store. */
export class Search {
  readonly #store: ContextStore;
  readonly #vectorArm: VectorArm;
  readonly #logger: Logger;

  constructor({ store, vectorArm, logger }: SearchOptions) {
    this.#store = store;
    this.#vectorArm = vectorArm;
    this.#logger = logger;
  }

  /** Answers a query. Throws UNAVAILABLE when the store fails, and the signal's reason. */
  async search({ query, topK, filter }: SearchQuery, signal: AbortSignal): Promise<SearchAnswer> {
    const depth = Math.max(minDepth, topK);
    // The arm that waits for others goes first: an embedded store answers on this thread.
    const [byMeaning, byWords] = await Promise.all([
      this.#vectorArm.search(query, filter, depth, signal),
      this.#searchWords(query, filter, depth),
    ]);
    signal.throwIfAborted();
    const arms: Arm[] = [];
    if (byWords.failure === undefined) arms.push("keyword");
    if (byMeaning.model !== "") arms.push("vector");
    if (arms.length === 0 && byWords.failure !== undefined) throw byWords.failure;
    const hits = await this.#fuse(query, filter, byWords.ranked, byMeaning.ranked);
    const reasons = [byWords.failure && `keyword: ${byWords.failure.message}`, byMeaning.degraded];
    return {
      hits: hits.slice(0, topK),
      arms,
      embeddingModel: byMeaning.model,
      degraded: reasons.filter(Boolean).join("; "),
    };
  }

  async #searchWords(query: string, filter: SearchFilter, depth: number) {
    try {
      return { ranked: await this.#store.searchWords(queryTerms(query), filter, depth) };
    } catch (error: unknown) {
      this.#logger.warn({ err: error }, "the keyword search failed");
      return { ranked: [], failure: toDevmeshError(error) };
    }
  }

  async #fuse(
    query: string,
    filter: SearchFilter,
    byWords: readonly RankedChunk[],
    byMeaning: readonly RankedChunk[],
  ): Promise<SearchHit[]> {
    const keywordRanks = ranksOf(byWords);
    const vectorRanks = ranksOf(byMeaning);
    const ids = [...new Set([...keywordRanks.keys(), ...vectorRanks.keys()])];
    const names = new Set(namesIn(query));
    return (await this.#store.chunks(ids, filter))
      .map((chunk) => {
        const keywordRank = keywordRanks.get(chunk.id) ?? 0;
        const vectorRank = vectorRanks.get(chunk.id) ?? 0;
        const worth = bearsName(chunk, names) ? exactNameWorth : 0;
        const score = reciprocalRank(keywordRank) + reciprocalRank(vectorRank) + worth;
        return { chunk, score, keywordRank, vectorRank };
      })
      .sort((a, b) => b.score - a.score || (a.chunk.id < b.chunk.id ? -1 : 1));
  }
}

/** True if the chunk defines, or its document is, what the query names. */
function bearsName({ title, source }: StoredChunk, names: ReadonlySet<string>): boolean {
  if (names.size === 0) return false;
  for (const name of names) if (source === name || source.endsWith(`/${name}`)) return true;
  return title
    .split(", ")
    .some((part) => names.has(part) || names.has(part.slice(part.lastIndexOf(".") + 1)));
}
