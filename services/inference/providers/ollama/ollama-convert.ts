/** Conversations between the port's form and that of Ollama's native chat. */
import { randomUUID } from "node:crypto";
import type { Message, Tool as OllamaTool } from "ollama";
import type { ChatInput, ChatMessage, ToolCall } from "../provider.ts";
import { argumentsObject } from "../tool-arguments.ts";

/** The messages as Ollama takes them. */
export function toOllamaMessages(messages: readonly ChatMessage[]): Message[] {
  const names = new Map<string, string>();
  return messages.map((message): Message => {
    for (const call of message.toolCalls) names.set(call.id, call.name);
    const name = names.get(message.toolCallId);
    return {
      role: message.role,
      content: message.content,
      ...(message.toolCalls.length > 0 && {
        tool_calls: message.toolCalls.map((call) => ({
          function: { name: call.name, arguments: argumentsObject(call.arguments) },
        })),
      }),
      ...(name !== undefined && { tool_name: name }),
    };
  });
}

/** The tools as Ollama takes them. */
export function toOllamaTools(tools: ChatInput["tools"]): OllamaTool[] {
  return tools.map(({ name, description, parameters }) => ({
    type: "function",
    function: { name, description, parameters },
  }));
}

/** The tool calls of one piece, each with an id of its own. */
export function fromOllamaCalls(calls: Message["tool_calls"]): ToolCall[] {
  return (calls ?? []).map(({ function: { name, arguments: input } }) => ({
    id: `call_${randomUUID()}`,
    name,
    arguments: JSON.stringify(input),
  }));
}
