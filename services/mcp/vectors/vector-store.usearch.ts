/**
 * Approximate search by usearch's HNSW graphs, on a thread of their own and
 * saved under a folder. One process at a time may use the folder.
 */
import { Worker } from "node:worker_threads";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ChunkVector, RankedChunk } from "../documents/context-store.ts";
import { checkDimensions, type VectorSpace } from "./index-version.ts";
import type { UsearchAnswer, UsearchTask, UsearchValue } from "./usearch/messages.ts";
import type { VectorStore } from "./vector-store.ts";

interface Waiting {
  resolve(value: UsearchValue): void;
  reject(error: Error): void;
}

/** Starts its thread with the first call; throws UNAVAILABLE when the thread ends. */
export class UsearchVectorStore implements VectorStore {
  readonly #folder: string;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #questions = 0;
  #closed = false;

  /** `folder` is made when something is saved. */
  constructor(options: { readonly folder: string }) {
    this.#folder = options.folder;
  }

  async upsert(space: VectorSpace, vectors: readonly ChunkVector[]): Promise<void> {
    for (const { vector } of vectors) checkDimensions(space, vector);
    await this.#ask({ do: "upsert", space, vectors });
  }

  async remove(space: VectorSpace, ids: readonly string[]): Promise<void> {
    await this.#ask({ do: "remove", space, ids });
  }

  async search(space: VectorSpace, vector: Float32Array, limit: number): Promise<RankedChunk[]> {
    checkDimensions(space, vector);
    return (await this.#ask({ do: "search", space, vector, limit })) as RankedChunk[];
  }

  async ids(space: VectorSpace): Promise<string[]> {
    return (await this.#ask({ do: "ids", space })) as string[];
  }

  async count(space: VectorSpace): Promise<number> {
    return (await this.#ask({ do: "count", space })) as number;
  }

  async drop(space: VectorSpace): Promise<void> {
    await this.#ask({ do: "drop", space });
  }

  async close(): Promise<void> {
    if (this.#worker !== undefined && !this.#closed) await this.#ask({ do: "save" });
    this.#closed = true;
    await this.#worker?.terminate();
  }

  #ask(task: UsearchTask): Promise<UsearchValue> {
    if (this.#closed) return Promise.reject(new DevmeshError("UNAVAILABLE", "the index is closed"));
    this.#questions += 1;
    const id = this.#questions;
    const { promise, resolve, reject } = Promise.withResolvers<UsearchValue>();
    this.#waiting.set(id, { resolve, reject });
    const thread = this.#thread();
    thread.ref();
    thread.postMessage({ id, task });
    return promise;
  }

  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL("./usearch/usearch-worker.ts", import.meta.url), {
      workerData: { folder: this.#folder },
    });
    let cause: unknown;
    worker.on("message", (answer: UsearchAnswer) => this.#settle(worker, answer));
    worker.on("error", (error) => {
      cause = error;
    });
    worker.on("exit", () => {
      this.#worker = undefined;
      const lost = new DevmeshError("UNAVAILABLE", "the vector index's thread ended", { cause });
      for (const { reject } of this.#waiting.values()) reject(lost);
      this.#waiting.clear();
    });
    this.#worker = worker;
    return worker;
  }

  #settle(worker: Worker, answer: UsearchAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) worker.unref();
    if ("failure" in answer) waiting?.reject(new Error(`usearch: ${answer.failure}`));
    else waiting?.resolve(answer.value);
  }
}
