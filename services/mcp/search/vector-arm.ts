/** Owns the search by meaning: the query's vector, the nearest chunks, and when to go without. */
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import {
  type ContextStore,
  isNoFilter,
  type RankedChunk,
  type SearchFilter,
} from "../documents/context-store.ts";
import type { Embedder } from "../embedder/embedder.ts";
import type { IndexVersion } from "../vectors/index-version.ts";
import { nearest } from "../vectors/nearest.ts";
import type { VectorStore } from "../vectors/vector-store.ts";

/** What the search must know of the index; the indexer tells it. */
export interface IndexState {
  /** The version that answers searches. Undefined: there is none yet. */
  readonly current: IndexVersion | undefined;
  /** Why vectors are missing. Empty: no reason. */
  readonly problem: string;
}

/** What the arm found. */
export interface VectorRanking {
  readonly ranked: readonly RankedChunk[];
  /** The model. Empty: the arm did not run. */
  readonly model: string;
  /** Why it did not run. Empty: it ran. */
  readonly degraded: string;
}

/** What the arm is made from. */
export interface VectorArmOptions {
  readonly store: ContextStore;
  readonly vectors: VectorStore;
  /** Undefined: there is no inference service, and the arm never runs. */
  readonly embedder: Embedder | undefined;
  readonly index: IndexState;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A filter that lets at most this many chunks pass is answered exactly, from the stored vectors. */
const maxExactChunks = 2_000;
/** A wider filter is answered by asking the index for more than is needed, up to this many. */
const maxFetched = 4_096;
/** How much of a long query is embedded, in characters. */
const maxQueryChars = 8_000;
/** After a failure the arm does not wait for the embedder again for this long. */
const pauseMs = 5_000;

/** Never throws: what goes wrong is in the answer. */
export class VectorArm {
  readonly #options: VectorArmOptions;
  #pausedUntil = 0;
  #lastFailure = "";

  constructor(options: VectorArmOptions) {
    this.#options = options;
  }

  /** The chunks that are nearest to the query's meaning. */
  async search(
    query: string,
    filter: SearchFilter,
    depth: number,
    signal: AbortSignal,
  ): Promise<VectorRanking> {
    const { embedder, index, clock, logger } = this.#options;
    if (embedder === undefined) return without("NO_EMBEDDER: no inference service is configured");
    const version = index.current;
    if (version === undefined) return without(index.problem || "there is no vector index yet");
    if (clock.now() < this.#pausedUntil) return without(this.#lastFailure);
    try {
      const vector = await this.#embed(embedder, version, query, signal);
      const ranked = await this.#nearest(version, vector, filter, depth);
      // The index was swapped meanwhile, and the old one may be gone: ask the new one.
      if (index.current?.id !== version.id) return await this.search(query, filter, depth, signal);
      return { ranked, model: version.model, degraded: "" };
    } catch (error: unknown) {
      const { reason, message } = toDevmeshError(error);
      if (signal.aborted) return without("the call was cancelled");
      logger.warn({ err: error, model: version.model }, "the vector search failed");
      this.#pausedUntil = clock.now() + pauseMs;
      this.#lastFailure = `${reason}: ${message}`;
      return without(this.#lastFailure);
    }
  }

  async #embed(
    embedder: Embedder,
    version: IndexVersion,
    query: string,
    signal: AbortSignal,
  ): Promise<Float32Array> {
    const { model, dimensions, vectors } = await embedder.embed([query.slice(0, maxQueryChars)], {
      purpose: "query",
      model: version.model,
      localOnly: false,
      signal,
    });
    const [vector] = vectors;
    if (vector === undefined || model !== version.model || dimensions !== version.dimensions) {
      throw new DevmeshError(
        "DIMENSION_MISMATCH",
        `the index is of ${version.model} with ${version.dimensions} dimensions, the query's vector of ${model} with ${dimensions}`,
      );
    }
    return vector;
  }

  async #nearest(
    version: IndexVersion,
    vector: Float32Array,
    filter: SearchFilter,
    depth: number,
  ): Promise<RankedChunk[]> {
    const { store, vectors } = this.#options;
    if (isNoFilter(filter)) return vectors.search(version, vector, depth);
    const allowed = await store.chunkIds(filter, maxExactChunks + 1);
    if (allowed.length <= maxExactChunks) {
      return nearest(vector, await store.vectors(version.id, allowed), depth);
    }
    for (let wanted = depth * 4; ; wanted *= 4) {
      const fetched = await vectors.search(version, vector, Math.min(wanted, maxFetched));
      const ids = fetched.map(({ id }) => id);
      const passing = new Set((await store.chunks(ids, filter)).map(({ id }) => id));
      const ranked = fetched.filter(({ id }) => passing.has(id)).slice(0, depth);
      const isAll = fetched.length < wanted || wanted >= maxFetched;
      if (ranked.length === depth || isAll) return ranked;
    }
  }
}

function without(degraded: string): VectorRanking {
  return { ranked: [], model: "", degraded: `vector: ${degraded}` };
}
