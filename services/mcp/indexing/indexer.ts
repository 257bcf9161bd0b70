/**
 * Owns the work behind ingest: chunks that lack a vector get one, in batches,
 * one after the other. All progress is in the context store, so that it goes
 * on after a crash. The vector store is filled from there.
 */
import { DevmeshError, type Reason, toDevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { ContextStore, PendingChunk } from "../documents/context-store.ts";
import type { Embedder } from "../embedder/embedder.ts";
import type { IndexState } from "../search/vector-arm.ts";
import { type IndexVersion, type VectorSpace, vectorSpace } from "../vectors/index-version.ts";
import type { VectorStore } from "../vectors/vector-store.ts";
import { Doorbell } from "./doorbell.ts";
import { refill } from "./refill.ts";

/** What an indexer is made from. */
export interface IndexerOptions {
  readonly store: ContextStore;
  readonly vectors: VectorStore;
  /** Undefined: nothing is ever embedded. */
  readonly embedder: Embedder | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The first wait after a failure; it doubles with each further one up to the sweep. */
const firstRetryMs = 2_000;
/** Texts embedded at once: a search's own text waits behind one batch at most. */
const batchTexts = 8;
/** When there was nothing to do, it looks again after this long. */
const sweepMs = 120_000;

/** The model is not there for these texts; asking again at once will not help. */
const noModel: ReadonlySet<Reason> = new Set(["NO_EMBEDDER", "MODEL_NOT_FOUND", "POLICY_REFUSED"]);
/** The text itself is refused; others may pass. */
const badText: ReadonlySet<Reason> = new Set(["INVALID_FIELD", "TOO_LARGE", "CONTEXT_LENGTH"]);

/** Runs from `start` to `close`. */
export class Indexer implements IndexState {
  readonly #options: IndexerOptions;
  readonly #doorbell: Doorbell;
  readonly #ending = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #current: IndexVersion | undefined;
  /** The space that is being filled; undefined until the embedder was asked. */
  #target: VectorSpace | undefined;
  #refilled = false;
  #cursor = 0;
  #removed: string[] = [];
  #failures = 0;
  #problem = "";

  constructor(options: IndexerOptions) {
    this.#options = options;
    this.#doorbell = new Doorbell(options.clock);
  }

  get current(): IndexVersion | undefined {
    return this.#current;
  }

  get problem(): string {
    return this.#problem;
  }

  /** Reads the current version, so that searches can use it, and goes to work. */
  async start(): Promise<void> {
    const versions = await this.#options.store.indexVersions();
    this.#current = versions.find(({ state }) => state === "current");
    this.#running = this.#run();
  }

  /** There are new chunks, or some are gone whose vectors must leave. */
  wake(removedChunkIds: readonly string[] = []): void {
    this.#removed.push(...removedChunkIds);
    this.#doorbell.ring();
  }

  /** Resolves when all that was known at the call is done, or cannot be done now. */
  settled(): Promise<void> {
    return this.#doorbell.resting();
  }

  /** Ends the work after the batch that is under way, which is not lost. */
  async close(): Promise<void> {
    this.#ending.abort(new Error("the indexer is closing"));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      let waitMs = 0;
      try {
        waitMs = (await this.#round(signal)) ? 0 : sweepMs;
        this.#failures = 0;
        this.#problem = "";
      } catch (error: unknown) {
        if (signal.aborted) break;
        const { reason, message } = toDevmeshError(error);
        this.#problem = `${reason}: ${message}`;
        waitMs = Math.min(firstRetryMs * 2 ** this.#failures, sweepMs);
        this.#failures += 1;
        if (this.#failures === 1) this.#tell(error, waitMs);
      }
      if (waitMs > 0 && (await this.#doorbell.rest(waitMs, signal)) === "time") this.#sweep();
    }
    this.#doorbell.end();
  }

  /** Having no model is the operator's choice: one line says what follows from it. */
  #tell(error: unknown, waitMs: number): void {
    const { logger } = this.#options;
    const { reason } = toDevmeshError(error);
    if (noModel.has(reason)) logger.warn({ reason }, "no embedding model: searching by keyword");
    else logger.warn({ err: error, waitMs }, "cannot embed; trying later");
  }

  /** Chunks that were passed over, and an index that lost its thread, get another look. */
  #sweep(): void {
    this.#cursor = 0;
    this.#refilled = false;
  }

  /** Does one piece of work; false if there was none. */
  async #round(signal: AbortSignal): Promise<boolean> {
    await this.#forgetRemoved();
    if (this.#current !== undefined && !this.#refilled) {
      await refill(this.#options.store, this.#options.vectors, this.#current, signal);
      this.#refilled = true;
    }
    const { embedder, store } = this.#options;
    if (embedder === undefined) return false;
    this.#target ??= await this.#chooseTarget(embedder, signal);
    const target = this.#target;
    const query = {
      versionId: target.id,
      after: this.#cursor,
      limit: Math.min(embedder.maxTexts, batchTexts),
    };
    const batch = await store.pending(query);
    const last = batch.at(-1);
    if (last === undefined) {
      if (target.id !== this.#current?.id) await this.#swap(target);
      return false;
    }
    await this.#embedBatch(
      embedder,
      target,
      batch.filter(({ localOnly }) => !localOnly),
      signal,
    );
    await this.#embedLocally(
      embedder,
      target,
      batch.filter(({ localOnly }) => localOnly),
      signal,
    );
    this.#cursor = last.sequence;
    return true;
  }

  async #forgetRemoved(): Promise<void> {
    const { store, vectors } = this.#options;
    const removed = this.#removed;
    if (removed.length === 0) return;
    this.#removed = [];
    try {
      for (const version of await store.indexVersions()) await vectors.remove(version, removed);
    } catch (error: unknown) {
      this.#removed.push(...removed);
      throw error;
    }
  }

  /** Asks for the model's identity; a model that was not there before gets a version of its own. */
  async #chooseTarget(embedder: Embedder, signal: AbortSignal): Promise<VectorSpace> {
    const { store, vectors, logger } = this.#options;
    const options = { purpose: "document", localOnly: false, signal } as const;
    const { model, dimensions } = await embedder.embed(["identity"], options);
    const target = vectorSpace(model, dimensions);
    for (const old of await store.indexVersions()) {
      if (old.id === target.id || old.id === this.#current?.id) continue;
      await store.dropIndexVersion(old.id);
      await vectors.drop(old);
    }
    await store.addIndexVersion(target);
    await refill(store, vectors, target, signal);
    this.#cursor = 0;
    if (this.#current === undefined) await this.#swap(target);
    else if (this.#current.id !== target.id) {
      logger.info({ model, from: this.#current.model }, "building an index for another model");
    }
    return target;
  }

  /** The new version answers from here on; only then does the old one go. */
  async #swap(target: VectorSpace): Promise<void> {
    const { store, vectors, logger } = this.#options;
    const old = this.#current;
    await store.promoteIndexVersion(target.id);
    this.#current = { ...target, state: "current" };
    logger.info({ model: target.model, dimensions: target.dimensions }, "vector index in use");
    if (old === undefined) return;
    await store.dropIndexVersion(old.id);
    await vectors.drop(old);
  }

  async #embedBatch(
    embedder: Embedder,
    target: VectorSpace,
    batch: readonly PendingChunk[],
    signal: AbortSignal,
  ): Promise<void> {
    if (batch.length === 0) return;
    try {
      await this.#embed(embedder, target, batch, signal);
    } catch (error: unknown) {
      const { reason } = toDevmeshError(error);
      if (noModel.has(reason)) this.#target = undefined;
      if (!badText.has(reason)) throw error;
      if (batch.length > 1) {
        for (const chunk of batch) await this.#embedBatch(embedder, target, [chunk], signal);
        return;
      }
      const { source, startLine } = batch[0] ?? {};
      this.#options.logger.warn({ err: error, source, startLine }, "a chunk cannot be embedded");
    }
  }

  /** Private chunks wait for a local provider of the index's model; others do not wait for them. */
  async #embedLocally(
    embedder: Embedder,
    target: VectorSpace,
    batch: readonly PendingChunk[],
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#embedBatch(embedder, target, batch, signal);
    } catch (error: unknown) {
      const { reason } = toDevmeshError(error);
      if (!noModel.has(reason)) throw error;
      this.#target = target;
      const { model } = target;
      this.#options.logger.warn(
        { model },
        "no local provider; private chunks stay without vectors",
      );
    }
  }

  async #embed(
    embedder: Embedder,
    target: VectorSpace,
    batch: readonly PendingChunk[],
    signal: AbortSignal,
  ): Promise<void> {
    const { store, vectors } = this.#options;
    const localOnly = batch.some((chunk) => chunk.localOnly);
    const {
      model,
      dimensions,
      vectors: made,
    } = await embedder.embed(batch.map(embeddedText), {
      purpose: "document",
      model: target.model,
      localOnly,
      signal,
    });
    if (model !== target.model || dimensions !== target.dimensions) {
      throw new DevmeshError(
        "DIMENSION_MISMATCH",
        `asked for ${target.model} with ${target.dimensions} dimensions, got ${model} with ${dimensions}`,
      );
    }
    const all = batch.flatMap(({ id }, i) => {
      const vector = made[i];
      return vector === undefined ? [] : [{ chunkId: id, vector }];
    });
    const kept = new Set(await store.putVectors(target.id, all));
    await vectors.upsert(
      target,
      all.filter(({ chunkId }) => kept.has(chunkId)),
    );
  }
}

/** A chunk says more with its place: a method without its class's name is hard to find. */
function embeddedText({ source, title, text }: PendingChunk): string {
  return [source, title, text].filter((part) => part !== "").join("\n");
}
