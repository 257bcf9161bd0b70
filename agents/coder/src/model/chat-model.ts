/** The port behind which the model answers. Retries are left to `patient-model.ts`. */
import type {
  ChatCompletionFunctionTool,
  ChatCompletionMessageParam,
} from "openai/resources/chat/completions";

/** One message of the conversation, in the chat completions dialect. */
export type Message = ChatCompletionMessageParam;

/** A tool as the model is told of it. */
export type ToolDefinition = ChatCompletionFunctionTool;

/** A tool that the model wants called; `arguments` is text as the model wrote it. */
export interface ModelCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** One answer of the model. */
export interface ModelTurn {
  readonly text: string;
  readonly calls: readonly ModelCall[];
  /** True if the answer was cut at its length limit. */
  readonly cut: boolean;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** False where the backend said no usage and the agent estimated. */
  readonly exactUsage: boolean;
  /** What it cost, in millionths of a US dollar. Undefined: no price is known. */
  readonly costMicros?: number | undefined;
  /** Who answered, as `provider/name` or as the backend named it. Empty: not said. */
  readonly model: string;
}

/** What the model is asked. */
export interface ModelQuestion {
  readonly messages: readonly Message[];
  readonly tools: readonly ToolDefinition[];
  /** Most tokens of the answer. 0: the model's default. */
  readonly maxTokens: number;
  /** The window that the conversation shall have, in tokens. Default, also for 0: the model's own. */
  readonly contextTokens?: number;
}

/** A model behind the backend. */
export interface ChatModel {
  /** How it is told of tools and calls them. Default: `native`. */
  readonly protocol?: "native" | "text";
  /** Answers once. Throws `ModelError`, or the signal's reason once it aborted. */
  ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelTurn>;
}
