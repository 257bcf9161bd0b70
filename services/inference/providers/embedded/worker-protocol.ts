/** What the parent and its workers say to each other. */
import type { Reason } from "@devmesh/mesh/errors";
import type { ChatInput, ToolCall } from "../provider.ts";

/**
 * From the parent. One request runs at a time; `abort` may name one that has
 * ended; after `stop` the worker ends by itself, once no native call is left.
 */
export type ToWorker<Request> =
  | { readonly type: "stop" }
  | { readonly type: "run"; readonly id: number; readonly request: Request }
  | { readonly type: "abort"; readonly id: number };

/** From the worker: pieces, then `done` or `failed`. */
export type FromWorker<Piece> =
  | { readonly type: "piece"; readonly id: number; readonly piece: Piece }
  | { readonly type: "done"; readonly id: number }
  | {
      readonly type: "failed";
      readonly id: number;
      readonly reason: Reason;
      readonly message: string;
      readonly metadata: Readonly<Record<string, string>>;
    };

/** What a chat worker is started with. */
export interface ChatWorkerData {
  readonly modelPath: string;
  /** The largest window to make, in tokens. */
  readonly maxContextTokens: number;
  readonly threads: number;
}

/** What a chat worker can be asked. */
export type ChatWorkerRequest =
  | { readonly type: "info" }
  | { readonly type: "chat"; readonly input: ChatInput }
  | { readonly type: "count"; readonly texts: readonly string[] };

/** What a chat worker answers. */
export type ChatWorkerPiece =
  | { readonly type: "info"; readonly contextTokens: number }
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "toolCall"; readonly call: ToolCall }
  | { readonly type: "counts"; readonly counts: readonly number[] }
  | {
      readonly type: "end";
      readonly finishReason: "stop" | "length" | "tool_calls";
      readonly inputTokens: number;
      readonly outputTokens: number;
    };

/** What an embedding worker is started with. */
export interface EmbeddingWorkerData {
  readonly modelPath: string;
  readonly tokenizerPath: string;
  readonly threads: number;
}

/** What an embedding worker can be asked. */
export type EmbeddingWorkerRequest =
  | { readonly type: "info" }
  | { readonly type: "embed"; readonly text: string }
  | { readonly type: "count"; readonly texts: readonly string[] };

/** What an embedding worker answers. */
export type EmbeddingWorkerPiece =
  | { readonly type: "info"; readonly dimensions: number; readonly contextTokens: number }
  | { readonly type: "vector"; readonly values: Float32Array; readonly tokens: number }
  | { readonly type: "counts"; readonly counts: readonly number[] };
