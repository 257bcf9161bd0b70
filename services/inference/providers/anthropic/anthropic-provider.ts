/**
 * Anthropic's messages API, or a server that speaks it. Never tries again by
 * itself: routing owns that.
 */
import Anthropic from "@anthropic-ai/sdk";
import type { MessageCreateParamsStreaming } from "@anthropic-ai/sdk/resources/messages";
import { DevmeshError } from "@devmesh/mesh/errors";
import { fromHttp } from "../http-errors.ts";
import { linkedAbort } from "../linked-abort.ts";
import type { ChatInput, ChatPiece, Embeddings, Provider, ProviderModel } from "../provider.ts";
import {
  cancelled,
  contentFiltered,
  noEmbedder,
  protocolError,
  throwIfCancelled,
  unavailable,
} from "../provider-errors.ts";
import { toAnthropicConversation, toAnthropicTools } from "./anthropic-convert.ts";

/** Which server, and how long it may take to begin. */
export interface AnthropicProviderOptions {
  /** Default: Anthropic's own. */
  readonly baseUrl?: string;
  readonly apiKey: string;
  /** Until the answer's headers, in milliseconds. Default: 120,000. */
  readonly timeoutMs?: number;
  /** Default: false. True for a server on the operator's own machines. */
  readonly local?: boolean;
}

/** The API demands a bound; this one stands where the caller sets none. */
const defaultMaxTokens = 8192;

/** The models of one server that speaks Anthropic's API. */
export class AnthropicProvider implements Provider {
  readonly name = "anthropic";
  readonly local: boolean;
  readonly #client: Anthropic;
  readonly #closing = new AbortController();

  constructor(options: AnthropicProviderOptions) {
    const { baseUrl, apiKey, timeoutMs = 120_000, local = false } = options;
    this.local = local;
    this.#client = new Anthropic({
      baseURL: baseUrl ?? "https://api.anthropic.com",
      apiKey: apiKey === "" ? "none" : apiKey,
      // The package would read these from the environment or from a profile.
      authToken: null,
      webhookKey: null,
      timeout: timeoutMs,
      maxRetries: 0,
      logLevel: "off",
    });
  }

  async listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    throwIfCancelled(signal);
    try {
      const models: ProviderModel[] = [];
      for await (const model of this.#client.models.list({}, { signal: this.#any(signal) })) {
        models.push({
          name: model.id,
          roles: ["chat", "coding"],
          contextTokens: model.max_input_tokens ?? 0,
          dimensions: 0,
          digest: "",
        });
      }
      return models;
    } catch (error) {
      throw this.#read(error, "", signal);
    }
  }

  async *chat(input: ChatInput, signal?: AbortSignal): AsyncGenerator<ChatPiece> {
    throwIfCancelled(signal);
    const { controller, unlink } = linkedAbort(this.#any(signal));
    let inputTokens = 0;
    let outputTokens = 0;
    let stopReason: string | undefined;
    let ended = false;
    let open: { id: string; name: string; json: string } | undefined;
    let toolCalls = 0;
    try {
      const stream = await this.#client.messages.create(this.#request(input), {
        signal: controller.signal,
      });
      for await (const event of stream) {
        throwIfCancelled(signal);
        switch (event.type) {
          case "message_start":
            inputTokens = inputOf(event.message.usage);
            outputTokens = event.message.usage.output_tokens;
            break;
          case "content_block_start":
            if (event.content_block.type !== "tool_use") break;
            open = { id: event.content_block.id, name: event.content_block.name, json: "" };
            break;
          case "content_block_delta":
            if (event.delta.type === "text_delta" && event.delta.text !== "") {
              yield { type: "text", text: event.delta.text };
            } else if (event.delta.type === "input_json_delta" && open !== undefined) {
              open.json += event.delta.partial_json;
            }
            break;
          case "content_block_stop": {
            if (open === undefined) break;
            const { id, name, json } = open;
            open = undefined;
            toolCalls += 1;
            yield { type: "toolCall", call: { id, name, arguments: json === "" ? "{}" : json } };
            break;
          }
          case "message_delta":
            stopReason = event.delta.stop_reason ?? stopReason;
            outputTokens = event.usage.output_tokens;
            if (event.usage.input_tokens) inputTokens = inputOf(event.usage);
            break;
          case "message_stop":
            ended = true;
            break;
          default:
            // Kinds of events that came after this was written carry nothing we read.
            break;
        }
      }
      throwIfCancelled(signal);
      if (!ended) throw unavailable(this.name, "it broke off before the end of the answer");
      if (stopReason === "refusal") throw contentFiltered(this.name);
      yield {
        type: "end",
        finishReason: toolCalls > 0 ? "tool_calls" : finishOf(stopReason),
        usage: { inputTokens, outputTokens, exact: true },
      };
    } catch (error) {
      throw this.#read(error, input.model, signal);
    } finally {
      unlink();
      controller.abort();
    }
  }

  /** Anthropic has no embedding models. */
  async embed(): Promise<Embeddings> {
    throw noEmbedder(this.name);
  }

  /** Its counting endpoint counts whole conversations, not texts. */
  async countTokens(): Promise<undefined> {
    return undefined;
  }

  async close(): Promise<void> {
    this.#closing.abort();
  }

  #request(input: ChatInput): MessageCreateParamsStreaming {
    const { system, messages } = toAnthropicConversation(input.messages);
    return {
      model: input.model,
      max_tokens: input.maxTokens > 0 ? input.maxTokens : defaultMaxTokens,
      messages,
      stream: true,
      ...(system.length > 0 && { system }),
      ...(input.tools.length > 0 && { tools: toAnthropicTools(input.tools) }),
      // The API's scale ends at 1.
      ...(input.temperature !== undefined && { temperature: Math.min(input.temperature, 1) }),
      ...(input.topP !== undefined && { top_p: input.topP }),
      ...(input.stop.length > 0 && { stop_sequences: [...input.stop] }),
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
    if (error instanceof Anthropic.APIConnectionError) {
      return unavailable(this.name, "cannot be reached", error);
    }
    if (error instanceof Anthropic.APIError) {
      return fromHttp({
        provider: this.name,
        model,
        status: error.status ?? 0,
        code: error.type ?? "",
        message: error.apiMessage ?? error.message,
        headers: error.headers,
        cause: error,
      });
    }
    return unavailable(this.name, "it broke off", error);
  }
}

interface InputUsage {
  readonly input_tokens: number | null;
  readonly cache_creation_input_tokens?: number | null;
  readonly cache_read_input_tokens?: number | null;
}

/** All tokens that went in, those read from or written to the cache as well. */
function inputOf(usage: InputUsage): number {
  return (
    (usage.input_tokens ?? 0) +
    (usage.cache_creation_input_tokens ?? 0) +
    (usage.cache_read_input_tokens ?? 0)
  );
}

function finishOf(stopReason: string | undefined): "stop" | "length" {
  return stopReason === "max_tokens" || stopReason === "model_context_window_exceeded"
    ? "length"
    : "stop";
}
