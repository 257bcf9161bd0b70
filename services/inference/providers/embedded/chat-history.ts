/** Conversations between the port's form and that of node-llama-cpp. */
import type { ChatHistoryItem, ChatModelFunctionCall, ChatModelFunctions } from "node-llama-cpp";
import type { ChatInput, ChatMessage } from "../provider.ts";
import { argumentsObject } from "../tool-arguments.ts";

/** The conversation, ending with the answer that is to be made. */
export function toLlamaHistory(messages: readonly ChatMessage[]): ChatHistoryItem[] {
  const history: ChatHistoryItem[] = [];
  const calls = new Map<string, ChatModelFunctionCall>();
  for (const message of messages) {
    switch (message.role) {
      case "system":
        history.push({ type: "system", text: message.content });
        break;
      case "user":
        history.push({ type: "user", text: message.content });
        break;
      case "assistant":
        answerOf(history).push(
          ...(message.content === "" ? [] : [message.content]),
          ...message.toolCalls.map((call) => {
            const made: ChatModelFunctionCall = {
              type: "functionCall",
              name: call.name,
              params: argumentsObject(call.arguments),
              result: "",
            };
            calls.set(call.id, made);
            return made;
          }),
        );
        break;
      case "tool": {
        const call = calls.get(message.toolCallId);
        if (call !== undefined) call.result = message.content;
        else history.push({ type: "user", text: message.content });
        break;
      }
      default:
        message.role satisfies never;
    }
  }
  answerOf(history);
  return history;
}

/** The tools; undefined where there are none. */
export function toLlamaFunctions(tools: ChatInput["tools"]): ChatModelFunctions | undefined {
  if (tools.length === 0) return undefined;
  return Object.fromEntries(
    tools.map(({ name, description, parameters }) => [name, { description, params: parameters }]),
  ) as ChatModelFunctions;
}

/** The response of the model's item at the end of the history, which is made if it is missing. */
function answerOf(history: ChatHistoryItem[]) {
  const last = history.at(-1);
  if (last?.type === "model") return last.response;
  const made: Extract<ChatHistoryItem, { type: "model" }> = { type: "model", response: [] };
  history.push(made);
  return made.response;
}
