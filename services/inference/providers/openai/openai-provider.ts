/**
 * Any server that speaks OpenAI's API. Never tries again by itself: routing
 * owns that. Its window is the server's to check: one that cuts prompts
 * silently cannot be told from one that does not.
 */
import { DevmeshError } from "@devmesh/mesh/errors";
import OpenAI from "openai";
import type { ChatCompletionCreateParamsStreaming } from "openai/resources/chat/completions";
import { prefixedTexts, unitVector } from "../embedding-texts.ts";
import { fromHttp } from "../http-errors.ts";
import { linkedAbort } from "../linked-abort.ts";
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

const officialBaseUrl = "https://api.openai.com/v1";

/** The models of one server that speaks OpenAI's API. */
export class OpenAiProvider implements Provider {
  readonly name = "openai";
  readonly local: boolean;
  readonly #client: OpenAI;
  readonly #official: boolean;
  readonly #closing = new AbortController();

  constructor(options: OpenAiProviderOptions) {
    const { baseUrl = officialBaseUrl, apiKey, timeoutMs = 120_000, local = false } = options;
    this.local = local;
    this.#official = new URL(baseUrl).hostname.endsWith("openai.com");
    this.#client = new OpenAI({
      baseURL: baseUrl,
      apiKey: apiKey === "" ? "none" : apiKey,
      // The package would read these from the environment.
      organization: null,
      project: null,
      adminAPIKey: null,
      webhookSecret: null,
      timeout: timeoutMs,
      maxRetries: 0,
      logLevel: "off",
    });
  }

  async listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    throwIfCancelled(signal);
    try {
      const models: ProviderModel[] = [];
      for await (const { id } of this.#client.models.list({ signal: this.#any(signal) })) {
        models.push({ name: id, roles: rolesOf(id), contextTokens: 0, dimensions: 0, digest: "" });
      }
      return models;
    } catch (error) {
      throw this.#read(error, "", signal);
    }
  }

  async *chat(input: ChatInput, signal?: AbortSignal): AsyncGenerator<ChatPiece> {
    throwIfCancelled(signal);
    const { controller, unlink } = linkedAbort(this.#any(signal));
    const calls = new ToolCallAssembly();
    let finish: string | undefined;
    let usage: Usage | undefined;
    let toolCalls = 0;
    let written = "";
    try {
      const stream = await this.#client.chat.completions.create(this.#request(input), {
        signal: controller.signal,
      });
      for await (const chunk of stream) {
        throwIfCancelled(signal);
        if (chunk.usage) {
          const { prompt_tokens, completion_tokens } = chunk.usage;
          usage = { inputTokens: prompt_tokens, outputTokens: completion_tokens, exact: true };
        }
        const choice = chunk.choices?.[0];
        if (choice === undefined) continue;
        const text = choice.delta?.content ?? "";
        if (text !== "") {
          written += text;
          yield { type: "text", text };
        }
        for (const part of choice.delta?.tool_calls ?? []) calls.add(part);
        if (!choice.finish_reason) continue;
        finish = choice.finish_reason;
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
    } finally {
      unlink();
      controller.abort();
    }
  }

  async embed(input: EmbedInput, signal?: AbortSignal): Promise<Embeddings> {
    throwIfCancelled(signal);
    try {
      const answer = await this.#client.embeddings.create(
        { model: input.model, input: [...prefixedTexts(input)], encoding_format: "float" },
        { signal: this.#any(signal) },
      );
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
    this.#closing.abort();
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

  #any(signal: AbortSignal | undefined): AbortSignal {
    const closing = this.#closing.signal;
    return signal === undefined ? closing : AbortSignal.any([signal, closing]);
  }

  #read(error: unknown, model: string, signal: AbortSignal | undefined): DevmeshError {
    if (signal?.aborted) return cancelled(error);
    if (error instanceof DevmeshError) return error;
    if (error instanceof SyntaxError) return protocolError(this.name, "it sent no JSON", error);
    if (this.#closing.signal.aborted) return unavailable(this.name, "it was closed", error);
    if (error instanceof OpenAI.APIConnectionError) {
      return unavailable(this.name, "cannot be reached", error);
    }
    if (error instanceof OpenAI.APIError) {
      return fromHttp({
        provider: this.name,
        model,
        status: error.status ?? 0,
        code: error.code ?? error.type ?? "",
        message: error.message,
        headers: error.headers,
        cause: error,
      });
    }
    return unavailable(this.name, "it broke off", error);
  }
}

function rolesOf(id: string): readonly ModelRole[] {
  if (/embed|bge-|minilm|gte-|e5-/i.test(id)) return ["embeddings"];
  return /code|codex|coder|devstral/i.test(id) ? ["coding", "chat"] : ["chat"];
}
