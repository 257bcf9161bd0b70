/**
 * Answers from a recorded script, for tests and replays. Deterministic and
 * without delays; a conversation that the script does not know fails. The
 * script's form is described in `script.ts`.
 */
import { createHash } from "node:crypto";
import { DevmeshError } from "@devmesh/mesh/errors";
import { unitVector } from "../embedding-texts.ts";
import type {
  ChatInput,
  ChatPiece,
  Embeddings,
  EmbedInput,
  Provider,
  ProviderModel,
} from "../provider.ts";
import {
  cancelled,
  contextLength,
  modelNotFound,
  noEmbedder,
  protocolError,
  throwIfCancelled,
} from "../provider-errors.ts";
import { estimatePrompt, estimateTokens } from "../token-estimate.ts";
import type { Script, ScriptConversation, ScriptTurn } from "./script.ts";
import { TextLimit } from "./text-limit.ts";

/** What a scripted provider is made from. */
export interface ScriptedProviderOptions {
  readonly script: Script;
  /** Default: `scripted`. Tests of routing let it stand for others. */
  readonly name?: string;
  /** Default: true. */
  readonly local?: boolean;
}

/** The models of one script. */
export class ScriptedProvider implements Provider {
  readonly name: string;
  readonly local: boolean;
  readonly #script: Script;

  constructor({ script, name = "scripted", local = true }: ScriptedProviderOptions) {
    this.name = name;
    this.local = local;
    this.#script = script;
  }

  async listModels(signal?: AbortSignal): Promise<readonly ProviderModel[]> {
    throwIfCancelled(signal);
    return this.#script.models;
  }

  async *chat(input: ChatInput, signal?: AbortSignal): AsyncGenerator<ChatPiece> {
    throwIfCancelled(signal);
    const model = this.#model(input.model);
    const inputTokens = estimatePrompt(input.messages, input.tools);
    if (model.contextTokens > 0 && inputTokens > model.contextTokens) {
      throw contextLength(this.name, model.contextTokens);
    }
    const number = input.messages.filter((message) => message.role === "assistant").length;
    const turn = this.#turn(input, number);
    const limit = new TextLimit(input.maxTokens, input.stop);
    let toolCalls = 0;
    for (const [index, piece] of turn.pieces.entries()) {
      throwIfCancelled(signal);
      switch (piece.type) {
        case "text": {
          const text = limit.take(piece.text);
          if (text !== "") yield { type: "text", text };
          break;
        }
        case "toolCall": {
          const id = piece.id ?? `call_${number}_${index}`;
          toolCalls += 1;
          yield { type: "toolCall", call: { id, name: piece.name, arguments: piece.arguments } };
          break;
        }
        case "fault":
          throw new DevmeshError(piece.reason, `${this.name}: ${piece.message}`, {
            metadata: { provider: this.name },
            ...(piece.retryAfterMs !== undefined && { retryAfterMs: piece.retryAfterMs }),
          });
        case "hang":
          await untilAborted(signal);
          break;
        default:
          piece satisfies never;
      }
      if (limit.reached !== undefined) break;
    }
    throwIfCancelled(signal);
    yield {
      type: "end",
      finishReason: limit.reached ?? (toolCalls > 0 ? "tool_calls" : "stop"),
      usage: {
        inputTokens: turn.usage?.inputTokens ?? inputTokens,
        outputTokens: turn.usage?.outputTokens ?? limit.tokens,
        exact: true,
      },
    };
  }

  async embed(input: EmbedInput, signal?: AbortSignal): Promise<Embeddings> {
    throwIfCancelled(signal);
    const { dimensions } = this.#model(input.model);
    if (dimensions === 0) throw noEmbedder(this.name);
    const inputTokens = input.texts.reduce((sum, text) => sum + estimateTokens(text), 0);
    return {
      vectors: input.texts.map((text) => hashedWords(text, dimensions)),
      usage: { inputTokens, outputTokens: 0, exact: true },
    };
  }

  async countTokens(model: string, texts: readonly string[]): Promise<readonly number[]> {
    this.#model(model);
    return texts.map(estimateTokens);
  }

  async close(): Promise<void> {}

  #model(name: string): ProviderModel {
    const model = this.#script.models.find((candidate) => candidate.name === name);
    if (model === undefined) throw modelNotFound(this.name, name);
    return model;
  }

  #turn(input: ChatInput, number: number): ScriptTurn {
    const conversation = this.#script.conversations.find((c) => fits(c, input));
    if (conversation === undefined) {
      throw protocolError(this.name, "the script has no conversation that fits this one");
    }
    const turn = conversation.turns[number];
    if (turn === undefined) {
      const has = conversation.turns.length;
      throw protocolError(this.name, `the script has ${has} turns, and turn ${number} was asked`);
    }
    const last = input.messages.at(-1)?.content ?? "";
    if (turn.lastMessage !== undefined && !last.includes(turn.lastMessage)) {
      throw unexpected(this.name, number, "the last message", turn.lastMessage, last);
    }
    const results = toolResults(input);
    if (turn.toolResult !== undefined && !results.includes(turn.toolResult)) {
      throw unexpected(this.name, number, "a tool result", turn.toolResult, results);
    }
    return turn;
  }
}

function fits({ contains, tools }: ScriptConversation, input: ChatInput): boolean {
  if (tools !== undefined && tools !== input.tools.length > 0) return false;
  return contains === undefined || input.messages.some((m) => m.content.includes(contains));
}

/** The tool messages since the last assistant message, as one text. */
function toolResults({ messages }: ChatInput): string {
  const from = messages.findLastIndex((message) => message.role === "assistant") + 1;
  return messages
    .slice(from)
    .filter((message) => message.role === "tool")
    .map((message) => message.content)
    .join("\n");
}

function unexpected(name: string, turn: number, where: string, wants: string, got: string) {
  return protocolError(
    name,
    `turn ${turn} of the script wants ${JSON.stringify(wants)} in ${where}, which is ${JSON.stringify(got.slice(0, 120))}`,
  );
}

async function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = () => reject(cancelled(signal?.reason));
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Equal words point in equal directions, so texts that share words are near. */
function hashedWords(text: string, dimensions: number): Float32Array {
  const values = new Float32Array(dimensions);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [text]) {
    const hash = createHash("sha256").update(word).digest();
    const at = hash.readUInt32LE(0) % dimensions;
    values[at] = (values[at] ?? 0) + ((hash[4] ?? 0) % 2 === 0 ? 1 : -1);
  }
  if (values.every((value) => value === 0)) values[0] = 1;
  return unitVector(values);
}
