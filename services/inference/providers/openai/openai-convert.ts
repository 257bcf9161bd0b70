/** Conversations between the port's form and that of OpenAI's chat completions. */
import type {
  ChatCompletionMessageParam,
  ChatCompletionTool,
} from "openai/resources/chat/completions";
import type { ChatInput, ChatMessage, ToolCall } from "../provider.ts";

/** The messages as the chat completions API takes them. */
export function toOpenAiMessages(messages: readonly ChatMessage[]): ChatCompletionMessageParam[] {
  return messages.map((message): ChatCompletionMessageParam => {
    switch (message.role) {
      case "system":
      case "user":
        return { role: message.role, content: message.content };
      case "tool":
        return { role: "tool", content: message.content, tool_call_id: message.toolCallId };
      case "assistant":
        if (message.toolCalls.length === 0) return { role: "assistant", content: message.content };
        return {
          role: "assistant",
          content: message.content === "" ? null : message.content,
          tool_calls: message.toolCalls.map((call) => ({
            id: call.id,
            type: "function",
            function: { name: call.name, arguments: call.arguments },
          })),
        };
      default:
        return message.role satisfies never;
    }
  });
}

/** The tools as the chat completions API takes them. */
export function toOpenAiTools(tools: ChatInput["tools"]): ChatCompletionTool[] {
  return tools.map(({ name, description, parameters }) => ({
    type: "function",
    function: { name, description, parameters },
  }));
}

/** A part of a tool call as it is streamed. */
export interface ToolCallPart {
  readonly index: number;
  readonly id?: string | undefined;
  readonly function?: {
    readonly name?: string | undefined;
    readonly arguments?: string | undefined;
  };
}

/** Puts streamed parts of tool calls together; a call comes out whole or not at all. */
export class ToolCallAssembly {
  readonly #open = new Map<number, { id: string; name: string; arguments: string }>();

  /** Takes a part. */
  add(part: ToolCallPart): void {
    const open = this.#open.get(part.index) ?? { id: "", name: "", arguments: "" };
    open.id ||= part.id ?? "";
    open.name ||= part.function?.name ?? "";
    open.arguments += part.function?.arguments ?? "";
    this.#open.set(part.index, open);
  }

  /** The calls so far, in their order; each is given out once. */
  take(): ToolCall[] {
    const calls = [...this.#open.entries()].sort(([a], [b]) => a - b).map(([, call]) => call);
    this.#open.clear();
    return calls;
  }
}
