/**
 * Any server that speaks OpenAI's API. Never tries again by itself: routing
 * owns that. Its window is the server's to check: one that cuts prompts
 * silently cannot be told from one that does not.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import type {
  ChatCompletionChunk,
  ChatCompletionCreateParamsStreaming,
} from "openai/resources/chat/completions";
import type { CreateEmbeddingResponse } from "openai/resources/embeddings";
import { prefixedTexts, unitVector } from "../embedding-texts.ts";
import { fromHttp } from "../http-errors.ts";
import type {
  ChatInput,
  ChatPiece,
  Embeddings,
  EmbedInput,
  ModelRole,
  Provider,
  ProviderModel,
  Usage,
} from "../provider.ts";
import {
  cancelled,
  contentFiltered,
  protocolError,
  throwIfCancelled,
  unavailable,
} from "../provider-errors.ts";
import { estimatePrompt, estimateTokens } from "../token-estimate.ts";
import { OpenAiClient, OpenAiConnectionError, OpenAiError } from "./openai-client.ts";
import { ToolCallAssembly, toOpenAiMessages, toOpenAiTools } from "./openai-convert.ts";

/** Which server, and how long it may take to begin. */
export interface OpenAiProviderOptions {
  /** Default: OpenAI's own. */
  readonly baseUrl?: string;
  /** Empty for servers that want none. */
  readonly apiKey: string;
  /** Until the answer's headers, in milliseconds. Default: 120,000. */
  readonly timeoutMs?: number;
  /** Default: false. True for a server on the operator's own machines. */
  readonly local?: boolean;
}

interface ModelList {
  readonly data?: readonly { readonly id: string }[];
}

const officialBaseUrl = "https://api.openai.com/v1";

/** The models of one server that speaks OpenAI's API. */
export class OpenAiProvider implements Provider {
  readonly name = "openai";
  readonly local: boolean;
  readonly #client: OpenAiClient;
  readonly #official: boolean;
  #closed = false;

  constructor(options: OpenAiProviderOptions) {
    const { baseUrl = officialBaseUrl, apiKey, timeoutMs = 120_000, local = false } = options;
    this.local = local;
    this.#official = new URL(baseUrl).hostname.endsWith("openai.com");
    this.#client = new OpenAiClient({
      baseUrl,
      apiKey: apiKey === "" ? "none" : apiKey,
      timeoutMs,
    });
  }

  async listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    throwIfCancelled(signal);
    try {
      const { data } = (await this.#client.json({ path: "models", signal })) as ModelList;
      if (!Array.isArray(data)) throw protocolError(this.name, "it sent no list of models");
      return data.map(({ id }) => ({
        name: id,
        roles: rolesOf(id),
        contextTokens: 0,
        dimensions: 0,
        digest: "",
      }));
    } catch (error) {
      throw this.#read(error, "", signal);
    }
  }

  async *chat(input: ChatInput, signal?: AbortSignal): AsyncGenerator<ChatPiece> {
    throwIfCancelled(signal);
    const calls = new ToolCallAssembly();
    let finish: string | undefined;
    let usage: Usage | undefined;
    let toolCalls = 0;
    let written = "";
    try {
      const call = { path: "chat/completions", body: this.#request(input), signal };
      for await (const chunks of this.#client.events(call)) {
        throwIfCancelled(signal);
        // What came in one read goes on as one piece.
        let text = "";
        for (const chunk of chunks as Partial<ChatCompletionChunk>[]) {
          if (chunk.usage) {
            const { prompt_tokens, completion_tokens } = chunk.usage;
            usage = { inputTokens: prompt_tokens, outputTokens: completion_tokens, exact: true };
          }
          const choice = chunk.choices?.[0];
          text += choice?.delta?.content ?? "";
          for (const part of choice?.delta?.tool_calls ?? []) calls.add(part);
          finish = choice?.finish_reason ?? finish;
        }
        if (text !== "") {
          written += text;
          yield { type: "text", text };
        }
        if (finish === undefined) continue;
        for (const call of calls.take()) {
          toolCalls += 1;
          yield { type: "toolCall", call };
        }
      }
      throwIfCancelled(signal);
      if (finish === undefined) {
        throw unavailable(this.name, "it broke off before the end of the answer");
      }
      if (finish === "content_filter") throw contentFiltered(this.name);
      yield {
        type: "end",
        finishReason: toolCalls > 0 ? "tool_calls" : finish === "length" ? "length" : "stop",
        usage: usage ?? {
          inputTokens: estimatePrompt(input.messages, input.tools),
          outputTokens: estimateTokens(written),
          exact: false,
        },
      };
    } catch (error) {
      throw this.#read(error, input.model, signal);
    }
  }

  async embed(input: EmbedInput, signal?: AbortSignal): Promise<Embeddings> {
    throwIfCancelled(signal);
    try {
      const answer = (await this.#client.json({
        path: "embeddings",
        body: { model: input.model, input: prefixedTexts(input), encoding_format: "float" },
        signal,
      })) as CreateEmbeddingResponse;
      const rows = [...answer.data].sort((a, b) => a.index - b.index);
      if (rows.length !== input.texts.length) {
        throw protocolError(this.name, "it sent another number of vectors than of texts");
      }
      return {
        vectors: rows.map((row) => unitVector(row.embedding)),
        usage: { inputTokens: answer.usage?.prompt_tokens ?? 0, outputTokens: 0, exact: true },
      };
    } catch (error) {
      throw this.#read(error, input.model, signal);
    }
  }

  /** OpenAI's API has no tokenizer to offer. */
  async countTokens(): Promise<undefined> {
    return undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#client.close();
  }

  #request(input: ChatInput): ChatCompletionCreateParamsStreaming {
    const most = this.#official ? "max_completion_tokens" : "max_tokens";
    return {
      model: input.model,
      messages: toOpenAiMessages(input.messages),
      stream: true,
      stream_options: { include_usage: true },
      ...(input.tools.length > 0 && { tools: toOpenAiTools(input.tools) }),
      ...(input.maxTokens > 0 && { [most]: input.maxTokens }),
      ...(input.temperature !== undefined && { temperature: input.temperature }),
      ...(input.topP !== undefined && { top_p: input.topP }),
      ...(input.stop.length > 0 && { stop: [...input.stop] }),
      ...(input.seed !== undefined && { seed: input.seed }),
    };
  }

  #read(error: unknown, model: string, signal: AbortSignal | undefined): DevmeshError {
    if (signal?.aborted) return cancelled(error);
    if (error instanceof DevmeshError) return error;
    if (error instanceof SyntaxError) return protocolError(this.name, "it sent no JSON", error);
    if (this.#closed) return unavailable(this.name, "it was closed", error);
    if (error instanceof OpenAiConnectionError) {
      return unavailable(this.name, "cannot be reached", error.cause);
    }
    if (error instanceof OpenAiError) {
      const { status, code, message, headers } = error;
      return fromHttp({ provider: this.name, model, status, code, message, headers, cause: error });
    }
    return unavailable(this.name, "it broke off", error);
  }
}

function rolesOf(id: string): readonly ModelRole[] {
  if (/embed|bge-|minilm|gte-|e5-/i.test(id)) return ["embeddings"];
  return /code|codex|coder|devstral/i.test(id) ? ["coding", "chat"] : ["chat"];
}
