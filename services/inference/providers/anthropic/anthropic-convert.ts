/** Conversations between the port's form and that of Anthropic's messages. */
import type {
  ContentBlockParam,
  MessageParam,
  TextBlockParam,
  Tool,
} from "@anthropic-ai/sdk/resources/messages";
import type { ChatInput, ChatMessage } from "../provider.ts";
import { argumentsObject } from "../tool-arguments.ts";

/** A conversation as the messages API takes it. */
export interface AnthropicConversation {
  readonly system: TextBlockParam[];
  readonly messages: MessageParam[];
}

/**
 * System messages go to the front; neighbours of one side become one message,
 * as tool results must stand together; empty texts, which the API refuses, fall away.
 */
export function toAnthropicConversation(messages: readonly ChatMessage[]): AnthropicConversation {
  const system: TextBlockParam[] = [];
  const turns: { role: "user" | "assistant"; content: ContentBlockParam[] }[] = [];
  for (const message of messages) {
    if (message.role === "system") {
      if (message.content !== "") system.push({ type: "text", text: message.content });
      continue;
    }
    const role = message.role === "assistant" ? "assistant" : "user";
    const blocks = blocksOf(message);
    const last = turns.at(-1);
    if (last?.role === role) last.content.push(...blocks);
    else if (blocks.length > 0) turns.push({ role, content: blocks });
  }
  return { system, messages: turns };
}

/** The tools as the messages API takes them. */
export function toAnthropicTools(tools: ChatInput["tools"]): Tool[] {
  return tools.map(({ name, description, parameters }) => ({
    name,
    description,
    input_schema: { ...parameters, type: "object" as const },
  }));
}

function blocksOf(message: ChatMessage): ContentBlockParam[] {
  if (message.role === "tool") {
    return [{ type: "tool_result", tool_use_id: message.toolCallId, content: message.content }];
  }
  const blocks: ContentBlockParam[] = [];
  if (message.content !== "") blocks.push({ type: "text", text: message.content });
  for (const call of message.toolCalls) {
    const input = argumentsObject(call.arguments);
    blocks.push({ type: "tool_use", id: call.id, name: call.name, input });
  }
  return blocks;
}
