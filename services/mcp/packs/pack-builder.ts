/** Owns the way from a task to its pack: search, count, put together. */
import type { Logger } from "@devmesh/mesh/log";
import type { SearchFilter } from "../documents/context-store.ts";
import type { Search, SearchAnswer } from "../search/search.ts";
import { makePack, type Pack } from "./pack.ts";
import type { TokenCounter } from "./token-counter.ts";

/** A task that needs context. */
export interface PackRequest {
  readonly task: string;
  readonly budgetTokens: number;
  readonly filter: SearchFilter;
}

/** A pack and how its content was found. */
export interface BuiltPack extends Pack, Pick<SearchAnswer, "arms" | "degraded"> {}

/** What a builder is made from. */
export interface PackBuilderOptions {
  readonly search: Search;
  /** Counters in order of preference; each next one is for when the one before fails. */
  readonly counters: readonly TokenCounter[];
  readonly logger: Logger;
}

const minCandidates = 50;
const maxCandidates = 500;
/** Fewer tokens than nearly every chunk has. */
const tokensPerCandidate = 100;

/** Builds packs. */
export class PackBuilder {
  readonly #search: Search;
  readonly #counters: readonly TokenCounter[];
  readonly #logger: Logger;

  constructor({ search, counters, logger }: PackBuilderOptions) {
    this.#search = search;
    this.#counters = counters;
    this.#logger = logger;
  }

  /** Builds a pack; no context is an empty one. Throws as the search does. */
  async build(request: PackRequest, signal: AbortSignal): Promise<BuiltPack> {
    const { task, budgetTokens, filter } = request;
    const wanted = Math.ceil(budgetTokens / tokensPerCandidate);
    const topK = Math.min(Math.max(wanted, minCandidates), maxCandidates);
    const { hits, arms, degraded } = await this.#search.search(
      { query: task, topK, filter },
      signal,
    );
    let failure: unknown;
    for (const counter of this.#counters) {
      try {
        return { ...(await makePack(hits, budgetTokens, counter, signal)), arms, degraded };
      } catch (error: unknown) {
        signal.throwIfAborted();
        this.#logger.warn({ err: error }, "cannot count tokens so; trying the next way");
        failure = error;
      }
    }
    throw failure;
  }
}
