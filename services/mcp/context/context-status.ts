/** Owns the answer to how much is known, and under which model. */
import type { ContextStore } from "../documents/context-store.ts";
import type { IndexState } from "../search/vector-arm.ts";

/** How much is known. */
export interface StatusReport {
  readonly documents: number;
  readonly chunks: number;
  /** Chunks with a vector of the current model. */
  readonly vectors: number;
  /** Empty: none. */
  readonly model: string;
  /** 0: none. */
  readonly dimensions: number;
}

/** What the status is read from. */
export interface ContextStatusOptions {
  readonly store: ContextStore;
  readonly index: IndexState;
}

/** Reads the status. */
export class ContextStatus {
  readonly #store: ContextStore;
  readonly #index: IndexState;

  constructor({ store, index }: ContextStatusOptions) {
    this.#store = store;
    this.#index = index;
  }

  /** Throws UNAVAILABLE when the store fails. */
  async read(): Promise<StatusReport> {
    const { current } = this.#index;
    const { documents, chunks } = await this.#store.counts();
    const vectors = current === undefined ? 0 : await this.#store.countVectors(current.id);
    return {
      documents,
      chunks,
      vectors,
      model: current?.model ?? "",
      dimensions: current?.dimensions ?? 0,
    };
  }
}
