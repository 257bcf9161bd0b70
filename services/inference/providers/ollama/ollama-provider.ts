/**
 * Ollama by its native API, the one that can refuse a prompt that is too long
 * instead of cutting it. Owns the window of each model; which model is asked
 * is left to `routing/`.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ChatRequest } from "ollama";
import { prefixedTexts, unitVector } from "../embedding-texts.ts";
import { linkedAbort } from "../linked-abort.ts";
import type {
  ChatInput,
  ChatPiece,
  Embeddings,
  EmbedInput,
  Provider,
  ProviderModel,
} from "../provider.ts";
import {
  cancelled,
  contextLength,
  modelNotFound,
  noEmbedder,
  protocolError,
  throwIfCancelled,
  unavailable,
} from "../provider-errors.ts";
import { ollamaFor } from "./ollama-client.ts";
import { fromOllamaCalls, toOllamaMessages, toOllamaTools } from "./ollama-convert.ts";
import { OllamaModels } from "./ollama-models.ts";

/** Which server. */
export interface OllamaProviderOptions {
  /** `http://host:11434`. */
  readonly baseUrl: string;
  /** The window of models whose file sets no `num_ctx`, in tokens. Default: 8,192. */
  readonly maxContextTokens?: number;
  /** Default: true. False for a server outside the operator's machines. */
  readonly local?: boolean;
}

/** `truncate` and `shift` are of the server's API, and not yet of the package's types. */
type StrictChatRequest = ChatRequest & { stream: true; truncate: false; shift: false };

/** The models of one Ollama server. */
export class OllamaProvider implements Provider {
  readonly name = "ollama";
  readonly local: boolean;
  readonly #baseUrl: string;
  readonly #models: OllamaModels;
  readonly #closing = new AbortController();

  constructor({ baseUrl, maxContextTokens, local = true }: OllamaProviderOptions) {
    this.local = local;
    this.#baseUrl = baseUrl;
    this.#models = new OllamaModels({ baseUrl, maxContextTokens });
  }

  async listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    const { controller, unlink } = this.#linked(signal);
    try {
      return await this.#models.list(controller.signal);
    } catch (error) {
      throw this.#read(error, signal);
    } finally {
      unlink();
    }
  }

  async *chat(input: ChatInput, signal?: AbortSignal): AsyncGenerator<ChatPiece> {
    throwIfCancelled(signal);
    const { controller, unlink } = this.#linked(signal);
    try {
      const model = await this.#models.get(input.model, controller.signal);
      if (model === undefined) throw modelNotFound(this.name, input.model);
      const window = windowFor(model, input.contextTokens ?? 0);
      const request: StrictChatRequest = {
        model: input.model,
        messages: toOllamaMessages(input.messages),
        tools: toOllamaTools(input.tools),
        stream: true,
        truncate: false,
        shift: false,
        options: {
          num_ctx: window,
          ...(input.maxTokens > 0 && { num_predict: input.maxTokens }),
          ...(input.temperature !== undefined && { temperature: input.temperature }),
          ...(input.topP !== undefined && { top_p: input.topP }),
          ...(input.stop.length > 0 && { stop: [...input.stop] }),
          ...(input.seed !== undefined && { seed: input.seed }),
        },
      };
      const client = ollamaFor({
        baseUrl: this.#baseUrl,
        model: input.model,
        signal: controller.signal,
      });
      let toolCalls = 0;
      for await (const part of await client.chat(request)) {
        throwIfCancelled(signal);
        if (part.message.content !== "") yield { type: "text", text: part.message.content };
        for (const call of fromOllamaCalls(part.message.tool_calls)) {
          toolCalls += 1;
          yield { type: "toolCall", call };
        }
        if (!part.done) continue;
        const inputTokens = part.prompt_eval_count ?? 0;
        // A server too old to know `truncate` cuts the prompt to the window and says so only here.
        if (inputTokens > window) throw contextLength(this.name, window);
        yield {
          type: "end",
          finishReason:
            toolCalls > 0 ? "tool_calls" : part.done_reason === "length" ? "length" : "stop",
          usage: { inputTokens, outputTokens: part.eval_count ?? 0, exact: true },
        };
        return;
      }
      throw unavailable(this.name, "it broke off before the end of the answer");
    } catch (error) {
      throw this.#read(error, signal);
    } finally {
      unlink();
      // Leaving the loop early does not end the request; this does.
      controller.abort();
    }
  }

  async embed(input: EmbedInput, signal?: AbortSignal): Promise<Embeddings> {
    throwIfCancelled(signal);
    const { controller, unlink } = this.#linked(signal);
    try {
      const model = await this.#models.get(input.model, controller.signal);
      if (model === undefined) throw modelNotFound(this.name, input.model);
      if (model.dimensions === 0) throw noEmbedder(this.name);
      const client = ollamaFor({
        baseUrl: this.#baseUrl,
        model: input.model,
        signal: controller.signal,
      });
      const vectors: Float32Array[] = [];
      let inputTokens = 0;
      // One text at a time: in a batch a text's vector depends on its neighbours.
      for (const text of prefixedTexts(input)) {
        throwIfCancelled(signal);
        const answer = await client.embed({ model: input.model, input: text, truncate: true });
        const vector = answer.embeddings[0];
        if (vector === undefined || vector.length !== model.dimensions) {
          throw protocolError(this.name, "it sent a vector of another length than its model's");
        }
        vectors.push(unitVector(vector));
        inputTokens += answer.prompt_eval_count ?? 0;
      }
      return { vectors, usage: { inputTokens, outputTokens: 0, exact: true } };
    } catch (error) {
      throw this.#read(error, signal);
    } finally {
      unlink();
    }
  }

  /** Ollama's API has no tokenizer to offer. */
  async countTokens(): Promise<undefined> {
    return undefined;
  }

  async close(): Promise<void> {
    this.#closing.abort();
  }

  #linked(signal: AbortSignal | undefined) {
    const link = linkedAbort(signal);
    const onClose = () => link.controller.abort();
    if (this.#closing.signal.aborted) onClose();
    this.#closing.signal.addEventListener("abort", onClose, { once: true });
    const unlink = () => {
      link.unlink();
      this.#closing.signal.removeEventListener("abort", onClose);
    };
    return { controller: link.controller, unlink };
  }

  #read(error: unknown, signal: AbortSignal | undefined): DevmeshError {
    if (signal?.aborted) return cancelled(error);
    if (error instanceof DevmeshError) return error;
    if (error instanceof SyntaxError) return protocolError(this.name, "it sent no JSON", error);
    if (this.#closing.signal.aborted) return unavailable(this.name, "it was closed", error);
    if (error instanceof TypeError) {
      const code = causeCode(error);
      return unavailable(this.name, `cannot be reached${code}`, error);
    }
    const message = error instanceof Error ? error.message : "failed";
    return unavailable(this.name, message, error);
  }
}

/**
 * The window of a call. Each other value makes the server load the model anew, so
 * that it is the model's own wherever that does, else the next power of two.
 */
function windowFor({ contextTokens, maxContextTokens = 0 }: ProviderModel, asked: number): number {
  if (asked <= contextTokens) return contextTokens;
  const rounded = 2 ** Math.ceil(Math.log2(asked));
  return Math.min(rounded, Math.max(contextTokens, maxContextTokens));
}

function causeCode(error: Error): string {
  const cause = error.cause;
  if (cause instanceof Error && "code" in cause) return ` (${String(cause.code)})`;
  return "";
}
