/** Conversations between the wire and the domain. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ChatDeltaSchema,
  ChatMessage as ChatMessagePb,
  PolicyOverride as PolicyOverridePb,
  RouteReceiptSchema,
  ToolCallSchema,
  UsageSchema,
} from "@devmesh/gen/devmesh/inference/v1/chat_pb";
import type { ChatRequest } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { invalidField } from "@devmesh/mesh/errors";
import type { ChatInput, ChatMessage, ToolCall, Usage } from "../providers/provider.ts";
import {
  noOverride,
  type PolicyMode,
  type PolicyOverride,
  policyModes,
} from "../routing/policy.ts";
import type { RoutedPiece, RouteReceipt } from "../routing/route.ts";

/** The conversation of a request; `model` is as the caller named it. */
export function toChatInput(request: ChatRequest): ChatInput {
  const { params } = request;
  return {
    model: request.model,
    messages: request.messages.map(toMessage),
    tools: request.tools.map(({ name, description, parameters }) => ({
      name,
      description,
      parameters: { ...parameters },
    })),
    maxTokens: params?.maxTokens ?? 0,
    temperature: params?.temperature,
    topP: params?.topP,
    stop: params?.stop ?? [],
    seed: params?.seed === undefined ? undefined : toSeed(params.seed),
    contextTokens: params?.contextTokens ?? 0,
  };
}

/** Where a request may be answered. */
export function toOverride(override: PolicyOverridePb | undefined): PolicyOverride {
  if (override === undefined) return noOverride;
  const mode = toMode("policy_override.mode", override.mode) ?? "";
  return { mode, provider: override.provider };
}

/** A mode by its word; undefined for none. */
export function toMode(field: string, word: string): PolicyMode | undefined {
  if (word === "") return undefined;
  const mode = policyModes.find((known) => known === word);
  if (mode === undefined) throw invalidField(field, `wants one of ${policyModes.join(", ")}`);
  return mode;
}

/** A piece of the answer as it travels. */
export function fromPiece(piece: RoutedPiece): MessageInitShape<typeof ChatDeltaSchema> {
  switch (piece.type) {
    case "route":
      return { piece: { case: "route", value: fromReceipt(piece.receipt) } };
    case "text":
      return { piece: { case: "text", value: piece.text } };
    case "toolCall":
      return { piece: { case: "toolCall", value: fromToolCall(piece.call) } };
    case "end": {
      const { finishReason, usage } = piece;
      return { piece: { case: "end", value: { finishReason, usage: fromUsage(usage) } } };
    }
    default:
      return piece satisfies never;
  }
}

/** Who answered. */
export function fromReceipt(receipt: RouteReceipt): MessageInitShape<typeof RouteReceiptSchema> {
  return { ...receipt, attempts: receipt.attempts.map((attempt) => ({ ...attempt })) };
}

/** What it took. */
export function fromUsage(usage: Usage): MessageInitShape<typeof UsageSchema> {
  return {
    inputTokens: BigInt(usage.inputTokens),
    outputTokens: BigInt(usage.outputTokens),
    exact: usage.exact,
    ...(usage.costMicros !== undefined && { costMicros: BigInt(usage.costMicros) }),
  };
}

/** A tool call as it travels. */
export function fromToolCall(call: ToolCall): MessageInitShape<typeof ToolCallSchema> {
  return { id: call.id, name: call.name, arguments: call.arguments };
}

function toMessage(message: ChatMessagePb, index: number): ChatMessage {
  return {
    role: toRole(message.role, index),
    content: message.content,
    toolCalls: message.toolCalls.map(({ id, name, arguments: text }) => ({
      id,
      name,
      arguments: text,
    })),
    toolCallId: message.toolCallId,
  };
}

function toRole(role: string, index: number): ChatMessage["role"] {
  switch (role) {
    case "system":
    case "user":
    case "assistant":
    case "tool":
      return role;
    default:
      throw invalidField(`messages[${index}].role`, "wants system, user, assistant or tool");
  }
}

function toSeed(seed: bigint): number {
  const value = Number(seed);
  if (!Number.isSafeInteger(value)) throw invalidField("params.seed", "wants at most 53 bits");
  return value;
}
