/**
 * Models in this process, each in a worker thread of its own: a GGUF chat model
 * by llama.cpp, an ONNX embedding model by ONNX Runtime. Where their files come
 * from is left to the config.
 */
import { basename, dirname } from "node:path";
import type { Clock } from "@devmesh/mesh/runtime";
import { prefixedTexts } from "../embedding-texts.ts";
import type {
  ChatInput,
  ChatPiece,
  Embeddings,
  EmbedInput,
  Provider,
  ProviderModel,
} from "../provider.ts";
import { modelNotFound, protocolError, throwIfCancelled } from "../provider-errors.ts";
import { WorkerHost } from "./worker-host.ts";
import type {
  ChatWorkerPiece,
  ChatWorkerRequest,
  EmbeddingWorkerPiece,
  EmbeddingWorkerRequest,
} from "./worker-protocol.ts";

/** Which models, and how much of the machine they may have. */
export interface EmbeddedProviderOptions {
  readonly clock: Clock;
  /** A GGUF file. Default: no chat model. */
  readonly chatModelPath?: string | undefined;
  /** An ONNX file with `tokenizer.json` beside it. Default: no embedding model. */
  readonly embeddingModelPath?: string | undefined;
  /** Default: 8,192, or what the model was trained for if that is less. */
  readonly maxContextTokens?: number;
  /** Threads of each model. Default: 1. */
  readonly threads?: number;
  /** Requests that may wait for each model. Default: 64. */
  readonly maxQueued?: number;
  /** A model without a request for this long is unloaded. Default: 300,000. */
  readonly idleMs?: number;
  /** An aborted request that does not end in this time costs its worker. Default: 5,000. */
  readonly abortGraceMs?: number;
}

type ChatHost = WorkerHost<ChatWorkerRequest, ChatWorkerPiece>;
type EmbeddingHost = WorkerHost<EmbeddingWorkerRequest, EmbeddingWorkerPiece>;

/** One chat model and one embedding model, either of which may be missing. */
export class EmbeddedProvider implements Provider {
  readonly name = "embedded";
  readonly local = true;
  readonly #chat: { readonly name: string; readonly host: ChatHost } | undefined;
  readonly #embedding: { readonly name: string; readonly host: EmbeddingHost } | undefined;
  #listed: Promise<readonly ProviderModel[]> | undefined;

  constructor(options: EmbeddedProviderOptions) {
    const { chatModelPath, embeddingModelPath, threads = 1, maxContextTokens = 8192 } = options;
    const { clock, maxQueued = 64, idleMs = 300_000, abortGraceMs = 5_000 } = options;
    const shared = { clock, maxQueued, idleMs, abortGraceMs };
    if (chatModelPath !== undefined) {
      const workerData = { modelPath: chatModelPath, maxContextTokens, threads };
      const module = new URL("./chat-worker.ts", import.meta.url);
      const host: ChatHost = new WorkerHost({ module, workerData, ...shared });
      this.#chat = { name: chatModelName(chatModelPath), host };
    }
    if (embeddingModelPath !== undefined) {
      const tokenizerPath = `${dirname(embeddingModelPath)}/tokenizer.json`;
      const workerData = { modelPath: embeddingModelPath, tokenizerPath, threads };
      const module = new URL("./embedding-worker.ts", import.meta.url);
      const host: EmbeddingHost = new WorkerHost({ module, workerData, ...shared });
      this.#embedding = { name: embeddingModelName(embeddingModelPath), host };
    }
  }

  async listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    throwIfCancelled(signal);
    // Files do not change under a running process; a failure is not kept.
    this.#listed ??= this.#list();
    try {
      return await this.#listed;
    } catch (error) {
      this.#listed = undefined;
      throw error;
    }
  }

  async *chat(input: ChatInput, signal?: AbortSignal): AsyncGenerator<ChatPiece> {
    throwIfCancelled(signal);
    const chat = this.#chat;
    if (chat?.name !== input.model) throw modelNotFound(this.name, input.model);
    for await (const piece of chat.host.run({ type: "chat", input }, { signal })) {
      switch (piece.type) {
        case "text":
        case "toolCall":
          yield piece;
          break;
        case "end": {
          const { finishReason, inputTokens, outputTokens } = piece;
          yield { type: "end", finishReason, usage: { inputTokens, outputTokens, exact: true } };
          return;
        }
        case "info":
        case "counts":
          throw protocolError(this.name, "its worker answered another question");
        default:
          piece satisfies never;
      }
    }
    throwIfCancelled(signal);
    throw protocolError(this.name, "its worker sent no end");
  }

  async embed(input: EmbedInput, signal?: AbortSignal): Promise<Embeddings> {
    throwIfCancelled(signal);
    const embedding = this.#embedding;
    if (embedding?.name !== input.model) throw modelNotFound(this.name, input.model);
    const vectors: Float32Array[] = [];
    let inputTokens = 0;
    // Each text queues by itself, and queries go first: a search does not wait for a bulk load.
    const urgent = input.purpose === "query";
    for (const text of prefixedTexts(input)) {
      const piece = await only(embedding.host.run({ type: "embed", text }, { signal, urgent }));
      if (piece?.type !== "vector") throw protocolError(this.name, "its worker sent no vector");
      vectors.push(piece.values);
      inputTokens += piece.tokens;
    }
    return { vectors, usage: { inputTokens, outputTokens: 0, exact: true } };
  }

  async countTokens(model: string, texts: readonly string[]): Promise<readonly number[]> {
    const host = [this.#chat, this.#embedding].find((one) => one?.name === model)?.host;
    if (host === undefined) throw modelNotFound(this.name, model);
    const piece = await only<ChatWorkerPiece | EmbeddingWorkerPiece>(
      host.run({ type: "count", texts }, {}),
    );
    if (piece?.type !== "counts") throw protocolError(this.name, "its worker sent no counts");
    return piece.counts;
  }

  async close(): Promise<void> {
    await Promise.all([this.#chat?.host.close(), this.#embedding?.host.close()]);
  }

  async #list(): Promise<readonly ProviderModel[]> {
    const models: ProviderModel[] = [];
    if (this.#chat !== undefined) {
      const { name, host } = this.#chat;
      const info = await only(host.run({ type: "info" }, { urgent: true, passing: true }));
      const contextTokens = info?.type === "info" ? info.contextTokens : 0;
      models.push({ name, roles: ["chat", "coding"], contextTokens, dimensions: 0, digest: "" });
    }
    if (this.#embedding !== undefined) {
      const { name, host } = this.#embedding;
      const info = await only(host.run({ type: "info" }, { urgent: true, passing: true }));
      if (info?.type !== "info") throw protocolError(this.name, "its worker sent no facts");
      const { contextTokens, dimensions } = info;
      models.push({ name, roles: ["embeddings"], contextTokens, dimensions, digest: "" });
    }
    return models;
  }
}

/** A GGUF file's name without its ending. */
export function chatModelName(path: string): string {
  return basename(path, ".gguf");
}

/** The name of an ONNX file's folder, without the checksum that a cache adds to it. */
export function embeddingModelName(path: string): string {
  return basename(dirname(path)).replace(/-[0-9a-f]{12}$/, "");
}

async function only<Piece>(pieces: AsyncIterable<Piece>): Promise<Piece | undefined> {
  let last: Piece | undefined;
  for await (const piece of pieces) last = piece;
  return last;
}
