/** The chat completions dialect over the provider port, both ways; as much as the agent speaks. */
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageParam,
} from "openai/resources/chat/completions";
import type {
  ChatInput,
  ChatMessage,
  ChatPiece,
  Tool,
} from "../../services/inference/providers/provider.ts";

/** What the agent sends. */
export type DialectRequest = ChatCompletionCreateParamsStreaming;

/** The request for the provider; `model` is what the role stands for. */
export function toChatInput(request: DialectRequest, model: string): ChatInput {
  return {
    model,
    messages: request.messages.map(toMessage),
    tools: (request.tools ?? []).flatMap(toTool),
    maxTokens: request.max_tokens ?? 0,
    temperature: undefined,
    topP: undefined,
    stop: [],
    seed: undefined,
  };
}

/** The answer as the chunks of a stream. Calls come in two parts, as real servers cut them. */
export async function* toChunks(
  pieces: AsyncIterable<ChatPiece>,
  model: string,
): AsyncGenerator<ChatCompletionChunk> {
  const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 0, model } as const;
  let index = 0;
  for await (const piece of pieces) {
    switch (piece.type) {
      case "text":
        yield { ...head, choices: [choice({ content: piece.text })] };
        break;
      case "toolCall": {
        const { id, name, arguments: json } = piece.call;
        const half = Math.ceil(json.length / 2);
        const first = { name, arguments: json.slice(0, half) };
        const rest = { arguments: json.slice(half) };
        yield {
          ...head,
          choices: [choice({ tool_calls: [{ index, id, type: "function", function: first }] })],
        };
        yield { ...head, choices: [choice({ tool_calls: [{ index, function: rest }] })] };
        index += 1;
        break;
      }
      case "end":
        yield { ...head, choices: [{ ...choice({}), finish_reason: piece.finishReason }] };
        yield { ...head, choices: [], usage: toUsage(piece) };
        break;
      default:
        piece satisfies never;
    }
  }
}

/** The answer as one. */
export function toCompletion(pieces: readonly ChatPiece[], model: string): ChatCompletion {
  const end = pieces.find((piece) => piece.type === "end");
  if (end === undefined) throw new Error("the provider made no end");
  const calls = pieces.flatMap((piece) => (piece.type === "toolCall" ? [piece.call] : []));
  const content = pieces.map((piece) => (piece.type === "text" ? piece.text : "")).join("");
  const toolCalls = calls.map(({ id, name, arguments: json }) => ({
    id,
    type: "function" as const,
    function: { name, arguments: json },
  }));
  return {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 0,
    model,
    choices: [
      {
        index: 0,
        finish_reason: end.finishReason,
        logprobs: null,
        message: {
          role: "assistant",
          content,
          refusal: null,
          ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
        },
      },
    ],
    usage: toUsage(end),
  };
}

function toUsage({ usage }: Extract<ChatPiece, { type: "end" }>) {
  const { inputTokens, outputTokens } = usage;
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  };
}

function choice(delta: ChatCompletionChunk.Choice.Delta): ChatCompletionChunk.Choice {
  return { index: 0, delta, finish_reason: null };
}

function toMessage(message: ChatCompletionMessageParam): ChatMessage {
  const plain = { content: textOf(message.content), toolCalls: [], toolCallId: "" };
  switch (message.role) {
    case "system":
    case "user":
      return { ...plain, role: message.role };
    case "tool":
      return { ...plain, role: "tool", toolCallId: message.tool_call_id };
    case "assistant": {
      const toolCalls = (message.tool_calls ?? []).flatMap((call) =>
        call.type === "function" ? [{ id: call.id, ...call.function }] : [],
      );
      return { ...plain, role: "assistant", toolCalls };
    }
    default:
      throw new Error(`the agent never sends the role ${message.role}`);
  }
}

function toTool(tool: NonNullable<DialectRequest["tools"]>[number]): Tool[] {
  if (tool.type !== "function") return [];
  const { name, description = "", parameters = {} } = tool.function;
  return [{ name, description, parameters }];
}

function textOf(content: unknown): string {
  return typeof content === "string" ? content : "";
}
