/**
 * The port behind which models answer. Owns the contract; the suite beside it
 * holds every implementation to it. Which provider is asked is left to
 * `routing/`.
 */

/** What a model is for. */
export type ModelRole = "chat" | "coding" | "embeddings";

/** A model that a provider has. */
export interface ProviderModel {
  readonly name: string;
  readonly roles: readonly ModelRole[];
  /** Its window in tokens. 0: unknown. */
  readonly contextTokens: number;
  /** The widest window that a call can ask for, in tokens. Default: `contextTokens`. */
  readonly maxContextTokens?: number;
  /** Whether it calls tools by itself. Absent: unknown. */
  readonly toolCalls?: "native" | "none";
  /** The length of its vectors. 0: no embedding model. */
  readonly dimensions: number;
  /** Empty where the provider tells none. */
  readonly digest: string;
}

/** A tool that a model wants called; `arguments` is JSON text as the model wrote it. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** One message of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly toolCalls: readonly ToolCall[];
  /** For `tool`: the call it answers. Empty otherwise. */
  readonly toolCallId: string;
}

/** A tool that a model may call. */
export interface Tool {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of its arguments. */
  readonly parameters: Record<string, unknown>;
}

/** A conversation to continue. */
export interface ChatInput {
  /** The model's name at this provider. */
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly Tool[];
  /** 0: the model's default. */
  readonly maxTokens: number;
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  readonly stop: readonly string[];
  readonly seed: number | undefined;
  /** The window that the conversation shall have, in tokens. Default, also for 0: the model's own. */
  readonly contextTokens?: number;
}

/** What an answer took. `exact` is false where devmesh estimated. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly exact: boolean;
  /** What it cost, in millionths of a US dollar. Absent: no price is known. Set by routing. */
  readonly costMicros?: number;
}

/** A piece of an answer. `end` comes last, exactly once. Tool calls come whole. */
export type ChatPiece =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "toolCall"; readonly call: ToolCall }
  | {
      readonly type: "end";
      readonly finishReason: "stop" | "length" | "tool_calls";
      readonly usage: Usage;
    };

/** Texts to embed. */
export interface EmbedInput {
  readonly model: string;
  readonly texts: readonly string[];
  /** Some models want a prefix for queries. */
  readonly purpose: "document" | "query";
}

/** Vectors of length 1 (L2), one for each text. */
export interface Embeddings {
  readonly vectors: readonly Float32Array[];
  readonly usage: Usage;
}

/**
 * A source of models. Errors are DevmeshErrors: PROVIDER_UNAVAILABLE (not
 * reached, broke off, 5xx), RATE_LIMITED, MODEL_NOT_FOUND, CONTEXT_LENGTH,
 * CONTENT_FILTERED, PROVIDER_PROTOCOL, CANCELLED (the signal aborted).
 */
export interface Provider {
  /** Its name in the config: `ollama`, `openai`, `anthropic`, `embedded`, `scripted`. */
  readonly name: string;
  /** True if nothing it is sent leaves for a cloud. */
  readonly local: boolean;
  /** The models it has now. Throws as above when it cannot be reached. */
  listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]>;
  /** Answers a conversation piece by piece; nothing is held back. Stops upstream when the signal aborts. */
  chat(input: ChatInput, signal?: AbortSignal): AsyncIterable<ChatPiece>;
  /** Embeds texts. Throws NO_EMBEDDER if it has no embedding models. */
  embed(input: EmbedInput, signal?: AbortSignal): Promise<Embeddings>;
  /** Counts tokens with the model's own tokenizer; undefined where it has none to offer. */
  countTokens(model: string, texts: readonly string[]): Promise<readonly number[] | undefined>;
  /** Ends workers and connections. */
  close(): Promise<void>;
}
