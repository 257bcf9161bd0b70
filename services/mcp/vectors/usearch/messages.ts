/** What the two threads of the usearch store say to each other. */
import type { ChunkVector, RankedChunk } from "../../documents/context-store.ts";
import type { VectorSpace } from "../index-version.ts";

/** What the thread is asked to do in a space. */
export type UsearchTask =
  | { readonly do: "upsert"; readonly space: VectorSpace; readonly vectors: readonly ChunkVector[] }
  | { readonly do: "remove"; readonly space: VectorSpace; readonly ids: readonly string[] }
  | {
      readonly do: "search";
      readonly space: VectorSpace;
      readonly vector: Float32Array;
      readonly limit: number;
    }
  | { readonly do: "ids" | "count" | "drop"; readonly space: VectorSpace }
  | { readonly do: "save" };

/** A task with the number that its answer carries. */
export interface UsearchQuestion {
  readonly id: number;
  readonly task: UsearchTask;
}

/** The value depends on the task; a failure is the error's text. */
export type UsearchAnswer =
  | { readonly id: number; readonly value: UsearchValue }
  | { readonly id: number; readonly failure: string };

/** Ranked chunks of a search, ids, a count, or nothing. */
export type UsearchValue = readonly RankedChunk[] | readonly string[] | number | undefined;
