/** Owns putting an answer together, from streamed chunks or from one whole. */
import type { ChatCompletion, ChatCompletionChunk } from "openai/resources/chat/completions";
import type { ModelCall, ModelTurn } from "./chat-model.ts";
import { ModelError } from "./model-error.ts";

/** Usage as the backend says it; `cost_micros` where it knows a price. */
interface AnswerUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly cost_micros?: unknown;
}

interface OpenCall {
  id: string;
  name: string;
  arguments: string;
}

/** Takes the chunks of one answer. Servers differ in how they cut calls; all cuts are accepted. */
export class AnswerAssembly {
  readonly #calls = new Map<number, OpenCall>();
  #text = "";
  #finish = "";
  #model = "";
  #usage: AnswerUsage | undefined;

  /** Takes a chunk. */
  add(chunk: ChatCompletionChunk): void {
    if (chunk.model) this.#model = chunk.model;
    if (chunk.usage) this.#usage = chunk.usage;
    // The dialect allows chunks without choices, for usage; some servers leave the field out.
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    this.#text += choice.delta?.content ?? "";
    for (const part of choice.delta?.tool_calls ?? []) {
      const index = part.index ?? this.#calls.size;
      const call = this.#calls.get(index) ?? { id: "", name: "", arguments: "" };
      call.id ||= part.id ?? "";
      call.name ||= part.function?.name ?? "";
      call.arguments += part.function?.arguments ?? "";
      this.#calls.set(index, call);
    }
    this.#finish = choice.finish_reason ?? this.#finish;
  }

  /** The answer. Throws `ModelError` where the stream ended before the answer did. */
  turn(questionBytes: number): ModelTurn {
    if (this.#finish === "") {
      throw new ModelError("the answer broke off before its end", {
        reason: "UNAVAILABLE",
        retryable: true,
      });
    }
    const calls = [...this.#calls].sort(([a], [b]) => a - b).map(([, call]) => call);
    return toTurn(this.#text, calls, this.#finish, this.#usage, this.#model, questionBytes);
  }
}

/** The answer of a server that does not stream. Throws `ModelError` where it is none. */
export function wholeAnswer(answer: ChatCompletion, questionBytes: number): ModelTurn {
  const choice = answer.choices?.[0];
  if (choice?.message === undefined) {
    throw new ModelError("the answer has no choice", {
      reason: "PROVIDER_PROTOCOL",
      retryable: true,
    });
  }
  const calls = (choice.message.tool_calls ?? []).flatMap((call) =>
    call.type === "custom" ? [] : [{ id: call.id ?? "", ...call.function }],
  );
  const text = choice.message.content ?? "";
  const finish = choice.finish_reason ?? "stop";
  return toTurn(text, calls, finish, answer.usage, answer.model ?? "", questionBytes);
}

function toTurn(
  text: string,
  calls: readonly ModelCall[],
  finish: string,
  usage: AnswerUsage | undefined,
  model: string,
  questionBytes: number,
): ModelTurn {
  const answerBytes = calls.reduce((sum, call) => sum + call.arguments.length, text.length);
  return {
    text,
    calls,
    cut: finish === "length",
    // Three bytes to a token errs upwards, so that the limit holds without usage too.
    inputTokens: usage?.prompt_tokens ?? Math.ceil(questionBytes / 3),
    outputTokens: usage?.completion_tokens ?? Math.ceil(answerBytes / 3),
    exactUsage: usage !== undefined,
    ...(typeof usage?.cost_micros === "number" && { costMicros: usage.cost_micros }),
    model,
  };
}
