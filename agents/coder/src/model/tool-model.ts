/**
 * A model whose calls come its own way or in plain text, as it can: one that
 * takes no tools, or writes its calls into its text, is spoken to in text.
 */
import type { ToolProtocol } from "../input.ts";
import type { ChatModel, ModelQuestion, ModelTurn } from "./chat-model.ts";
import { ModelError } from "./model-error.ts";
import { asText, readCalls } from "./text-calls.ts";

/** What it is made from. */
export interface ToolModelOptions {
  readonly model: ChatModel;
  /** `auto`: native until it turns out otherwise. */
  readonly protocol: ToolProtocol;
  /** Told when it changes to text, and why. */
  readonly onText: (why: string) => void;
}

/** Speaks either protocol. */
export class ToolModel implements ChatModel {
  readonly #options: ToolModelOptions;
  #protocol: ToolProtocol;

  constructor(options: ToolModelOptions) {
    this.#options = options;
    this.#protocol = options.protocol;
  }

  /** The protocol of the next question. */
  get protocol(): "native" | "text" {
    return this.#protocol === "text" ? "text" : "native";
  }

  /** From now on in text. */
  useText(why: string): void {
    if (this.#protocol !== "auto") return;
    this.#protocol = "text";
    this.#options.onText(why);
  }

  async ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelTurn> {
    if (this.protocol === "text") return this.#askInText(question, signal);
    try {
      const turn = await this.#options.model.ask(question, signal);
      return this.#protocol === "auto" ? this.#lookInto(turn) : turn;
    } catch (error) {
      if (this.#protocol !== "auto" || !refusesTools(error)) throw error;
      this.useText("it takes no tools");
      return this.#askInText(question, signal);
    }
  }

  async #askInText(question: ModelQuestion, signal: AbortSignal): Promise<ModelTurn> {
    const { messages, tools } = question;
    const asked = { ...question, messages: asText(messages, tools), tools: [] };
    const turn = await this.#options.model.ask(asked, signal);
    // Some call by their own means all the same.
    return turn.calls.length > 0 ? turn : { ...turn, ...readCalls(turn.text) };
  }

  #lookInto(turn: ModelTurn): ModelTurn {
    if (turn.calls.length > 0) return turn;
    const { text, calls } = readCalls(turn.text);
    if (calls.length === 0) return turn;
    this.useText("it writes its calls into its text");
    return { ...turn, text, calls };
  }
}

/** A refusal that is about the tools themselves. */
function refusesTools(error: unknown): boolean {
  if (!(error instanceof ModelError) || error.retryable) return false;
  return (
    /\b(tools?|functions?|function[ _]call\w*)\b/i.test(error.message) &&
    !/CONTEXT_LENGTH|BUDGET/.test(error.reason)
  );
}
