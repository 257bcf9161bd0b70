/** Answers as OpenAI's Responses API has them: one document, or the events that make it. */
import { randomUUID } from "node:crypto";
import type { ChatDelta, ToolCall, Usage } from "@devmesh/gen/devmesh/inference/v1/chat_pb";
import type { ChatResponse } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Json } from "./json-reader.ts";

/** What an answer says besides what the model said. */
export interface AnswerFrame {
  /** The model that was asked for; named until the route is known. */
  readonly model: string;
  /** Fields that repeat the request. */
  readonly echo: Json;
}

/** A whole answer. */
export function toResponse(answer: ChatResponse, { model, echo }: AnswerFrame): Json {
  const { message, finishReason, usage, route } = answer;
  const text = message?.content ?? "";
  const calls = (message?.toolCalls ?? []).map((call) => callItem(newId("fc"), call));
  return {
    ...head(echo),
    model: route ? `${route.provider}/${route.model}` : model,
    ...endOf(finishReason),
    output: [...(text === "" ? [] : [messageItem(newId("msg"), text)]), ...calls],
    usage: toUsage(usage),
  };
}

/** Tells an answer as events, numbered from 0, each a frame of server-sent events. */
export class ResponseEvents {
  #number = 0;
  #response: Json;
  readonly #output: Json[] = [];
  /** The message that is being said. */
  #message: { readonly id: string; text: string } | undefined;
  #isBegun = false;
  #isEnded = false;

  constructor({ model, echo }: AnswerFrame) {
    this.#response = { ...head(echo), model, status: "in_progress", output: [], usage: null };
  }

  /** What a piece of the answer adds. */
  take(delta: ChatDelta | undefined): string[] {
    const piece = delta?.piece;
    if (piece?.case === "route") {
      const { provider, model } = piece.value;
      this.#response = { ...this.#response, model: `${provider}/${model}` };
    }
    const frames = this.#begin();
    switch (piece?.case) {
      case "text":
        return [...frames, ...this.#text(piece.value)];
      case "toolCall":
        return [...frames, ...this.#closeMessage("completed"), ...this.#call(piece.value)];
      case "end": {
        const { finishReason, usage } = piece.value;
        return [...frames, ...this.#end(endOf(finishReason), toUsage(usage))];
      }
      default:
        return frames;
    }
  }

  /** The last event of an answer that broke. */
  fail(error: DevmeshError): string[] {
    const { message } = error;
    this.#isEnded = true;
    const failed = { status: "failed", error: { code: codeOf(error), message } };
    return [...this.#begin(), this.#event("response.failed", { response: this.#whole(failed) })];
  }

  /** After the last piece: an answer that came without an end has failed. */
  close(): string[] {
    if (this.#isEnded) return [];
    return this.fail(new DevmeshError("PROVIDER_PROTOCOL", "the answer has no end"));
  }

  #begin(): string[] {
    if (this.#isBegun) return [];
    this.#isBegun = true;
    return ["response.created", "response.in_progress"].map((type) =>
      this.#event(type, { response: this.#whole({}) }),
    );
  }

  #text(delta: string): string[] {
    const frames: string[] = [];
    if (this.#message === undefined) {
      const id = newId("msg");
      this.#message = { id, text: "" };
      const item = { ...messageItem(id, ""), status: "in_progress", content: [] };
      frames.push(
        this.#event("response.output_item.added", { output_index: this.#output.length, item }),
        this.#part("response.content_part.added", { part: textPart("") }),
      );
    }
    this.#message.text += delta;
    frames.push(this.#part("response.output_text.delta", { delta, logprobs: [] }));
    return frames;
  }

  #closeMessage(status: "completed" | "incomplete"): string[] {
    const message = this.#message;
    if (message === undefined) return [];
    const { id, text } = message;
    const item = { ...messageItem(id, text), status };
    const frames = [
      this.#part("response.output_text.done", { text, logprobs: [] }),
      this.#part("response.content_part.done", { part: textPart(text) }),
      this.#done(item),
    ];
    this.#message = undefined;
    return frames;
  }

  #call(call: ToolCall): string[] {
    const id = newId("fc");
    const item = callItem(id, call);
    const at = { item_id: id, output_index: this.#output.length };
    const begun = { ...item, arguments: "", status: "in_progress" };
    const { name, arguments: args } = call;
    return [
      this.#event("response.output_item.added", { output_index: this.#output.length, item: begun }),
      this.#event("response.function_call_arguments.delta", { ...at, delta: args }),
      this.#event("response.function_call_arguments.done", { ...at, name, arguments: args }),
      this.#done(item),
    ];
  }

  #done(item: Json): string {
    const frame = this.#event("response.output_item.done", {
      output_index: this.#output.length,
      item,
    });
    this.#output.push(item);
    return frame;
  }

  #end(end: Json, usage: Json): string[] {
    this.#isEnded = true;
    const isWhole = end.status === "completed";
    const frames = this.#closeMessage(isWhole ? "completed" : "incomplete");
    const response = this.#whole({ ...end, usage });
    return [
      ...frames,
      this.#event(`response.${isWhole ? "completed" : "incomplete"}`, { response }),
    ];
  }

  #whole(fields: Json): Json {
    return { ...this.#response, output: this.#output, ...fields };
  }

  /** An event of the message that is being said. */
  #part(type: string, fields: Json): string {
    const item_id = this.#message?.id ?? "";
    return this.#event(type, {
      item_id,
      output_index: this.#output.length,
      content_index: 0,
      ...fields,
    });
  }

  #event(type: string, fields: Json): string {
    const data = JSON.stringify({ type, sequence_number: this.#number++, ...fields });
    return `event: ${type}\ndata: ${data}\n\n`;
  }
}

/** What every answer has; what is not known yet or never is null. */
function head(echo: Json): Json {
  return {
    id: newId("resp"),
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    background: false,
    error: null,
    incomplete_details: null,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    text: { format: { type: "text" } },
    truncation: "disabled",
    user: null,
    ...echo,
  };
}

function endOf(finishReason: string): Json {
  if (finishReason !== "length") return { status: "completed" };
  return { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } };
}

function messageItem(id: string, text: string): Json {
  const content = [textPart(text)];
  return { id, type: "message", status: "completed", role: "assistant", content };
}

function textPart(text: string): Json {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function callItem(id: string, { id: callId, name, arguments: args }: ToolCall): Json {
  const call_id = callId === "" ? id : callId;
  return { id, type: "function_call", status: "completed", call_id, name, arguments: args };
}

function toUsage(usage: Usage | undefined): Json {
  const input = Number(usage?.inputTokens ?? 0n);
  const output = Number(usage?.outputTokens ?? 0n);
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: input + output,
  };
}

/** Two failures have codes that clients act on; the others have the reason's name. */
function codeOf({ reason }: DevmeshError): string {
  if (reason === "RATE_LIMITED") return "rate_limit_exceeded";
  if (reason === "CONTEXT_LENGTH") return "context_length_exceeded";
  return reason.toLowerCase();
}

function newId(kind: string): string {
  return `${kind}_${randomUUID().replaceAll("-", "")}`;
}
