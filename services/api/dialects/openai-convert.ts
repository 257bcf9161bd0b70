/** The OpenAI chat dialect and devmesh's conversations, both ways. */
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { ChatDelta, Usage } from "@devmesh/gen/devmesh/inference/v1/chat_pb";
import {
  type ChatRequest,
  ChatRequestSchema,
  type ChatResponse,
} from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import type { Model } from "@devmesh/gen/devmesh/inference/v1/model_pb";
import { invalidField } from "@devmesh/mesh/errors";
import type { Json, JsonReader } from "./json-reader.ts";
import { readBody, tokenBounds, toTool } from "./openai-body.ts";

/** A chat/completions request. */
export interface CompletionRequest {
  readonly request: ChatRequest;
  readonly stream: boolean;
  /** True: the last chunk carries the usage (`stream_options.include_usage`). */
  readonly includeUsage: boolean;
}

const contextBounds = { min: 0, max: 10_000_000 };
/** Larger numbers are no whole ones in JSON any more. */
const seedBounds = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };

/**
 * Throws MALFORMED_BODY, or INVALID_FIELD that names the field. Fields that
 * change nothing here are passed over; one that asks for what there is not
 * (`n` above 1) is refused.
 */
export function toChatRequest(body: Uint8Array): CompletionRequest {
  const reader = readBody(body);
  const messages = reader.list("messages").map(toMessage);
  if (messages.length === 0) throw invalidField("messages", "must have at least one message");
  reader.integer("n", { min: 1, max: 1 });
  const noTools = reader.raw("tool_choice") === "none";
  const temperature = reader.number("temperature");
  const topP = reader.number("top_p");
  const seed = reader.integer("seed", seedBounds);
  const hasOptions = reader.raw("stream_options") !== undefined;
  const options = hasOptions ? reader.object("stream_options") : undefined;
  return {
    request: create(ChatRequestSchema, {
      model: reader.string("model"),
      messages,
      tools: noTools ? [] : reader.list("tools").map((tool) => toTool(tool.object("function"))),
      params: {
        maxTokens: maxTokensOf(reader),
        contextTokens: reader.integer("context_tokens", contextBounds) ?? 0,
        stop: stopsOf(reader),
        ...(temperature !== undefined && { temperature }),
        ...(topP !== undefined && { topP }),
        ...(seed !== undefined && { seed: BigInt(seed) }),
      },
    }),
    stream: reader.boolean("stream"),
    includeUsage: options?.boolean("include_usage") ?? false,
  };
}

function maxTokensOf(reader: JsonReader): number {
  const names = ["max_completion_tokens", "max_tokens"];
  const [newer, older] = names.map((name) => reader.integer(name, tokenBounds));
  return newer ?? older ?? 0;
}

/** A text or a list of texts; empty ones end nothing. */
function stopsOf(reader: JsonReader): string[] {
  const stop = reader.raw("stop");
  if (typeof stop === "string") return stop === "" ? [] : [stop];
  if (stop !== undefined && !Array.isArray(stop)) {
    throw invalidField("stop", "must be a string or a list of strings");
  }
  const stops = reader.strings("stop");
  return stops.filter((text) => text !== "");
}

function toMessage(message: JsonReader) {
  const role = message.string("role");
  return {
    role: role === "developer" ? "system" : role,
    content: textOf(message),
    toolCalls: message.list("tool_calls").map((call) => {
      const fn = call.object("function");
      return { id: call.string("id"), name: fn.string("name"), arguments: fn.string("arguments") };
    }),
    toolCallId: message.string("tool_call_id"),
  };
}

/** Content is a text, null, or a list of text parts. */
function textOf(message: JsonReader): string {
  const content = message.raw("content");
  if (!Array.isArray(content)) return message.string("content");
  return message
    .list("content")
    .map((part) => {
      if (part.string("type") === "text") return part.string("text");
      throw invalidField(`${part.path}.type`, "only parts of type text are taken");
    })
    .join("");
}

/** A whole answer in the dialect; `model` is named where the answer says no route. */
export function toCompletion(answer: ChatResponse, model: string): Json {
  const { message, finishReason, usage, route } = answer;
  const calls = (message?.toolCalls ?? []).map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  const content = message?.content ?? "";
  return {
    ...envelope("chat.completion", route ? `${route.provider}/${route.model}` : model),
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          // An answer of tool calls alone has no content.
          content: content === "" && calls.length > 0 ? null : content,
          refusal: null,
          ...(calls.length > 0 && { tool_calls: calls }),
        },
        logprobs: null,
        finish_reason: finishReason,
      },
    ],
    usage: toUsage(usage),
  };
}

/** Turns a piece of an answer into the dialect's chunks. */
export type ChunkWriter = (delta: ChatDelta | undefined) => Json[];

/** A writer for one answer; all its chunks have one id. `model` is named until the route is known. */
export function chunkWriter(includeUsage: boolean, model: string): ChunkWriter {
  let head = envelope("chat.completion.chunk", model);
  let calls = 0;
  const chunk = (delta: Json, finish: string | null = null): Json => ({
    ...head,
    choices: [{ index: 0, delta, finish_reason: finish }],
    // Asked for, the usage is in the last chunk, and null in all others.
    ...(includeUsage && { usage: null }),
  });
  return (delta) => {
    const piece = delta?.piece;
    switch (piece?.case) {
      case "route":
        head = { ...head, model: `${piece.value.provider}/${piece.value.model}` };
        return [chunk({ role: "assistant", content: "" })];
      case "text":
        return [chunk({ content: piece.value })];
      case "toolCall": {
        const { id, name, arguments: args } = piece.value;
        const call = { index: calls++, id, type: "function", function: { name, arguments: args } };
        return [chunk({ tool_calls: [call] })];
      }
      case "end": {
        const last = chunk({}, piece.value.finishReason);
        if (!includeUsage) return [last];
        return [last, { ...head, choices: [], usage: toUsage(piece.value.usage) }];
      }
      default:
        return [];
    }
  };
}

/** The models in the dialect; ids are `provider/name`. */
export function toModelList(models: readonly Model[]) {
  const data = models.map(({ provider, name }) => ({
    id: `${provider}/${name}`,
    object: "model",
    created: 0,
    owned_by: provider,
  }));
  return { object: "list", data };
}

function envelope(object: string, model: string): Json {
  const id = `chatcmpl-${randomUUID()}`;
  return { id, object, created: Math.floor(Date.now() / 1000), model };
}

function toUsage(usage: Usage | undefined): Json {
  const input = Number(usage?.inputTokens ?? 0n);
  const output = Number(usage?.outputTokens ?? 0n);
  const counts = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
  if (usage?.costMicros === undefined) return counts;
  // Beside the dialect's own: what it cost, in millionths of a US dollar.
  return { ...counts, cost_micros: Number(usage.costMicros) };
}
