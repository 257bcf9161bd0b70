/**
 * Requests of OpenAI's Responses API as devmesh's conversations. Nothing is
 * stored here: a request brings its whole conversation with it.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ToolSchema } from "@devmesh/gen/devmesh/inference/v1/chat_pb";
import {
  type ChatRequest,
  ChatRequestSchema,
} from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { invalidField } from "@devmesh/mesh/errors";
import { isObject, type Json, type JsonReader } from "./json-reader.ts";
import { readBody, tokenBounds, toTool } from "./openai-body.ts";
import type { Places } from "./openai-params.ts";

/** A message that may still grow. */
interface Message {
  /** Where in the request it begins. */
  readonly place: string;
  readonly role: string;
  content: string;
  readonly toolCalls: { readonly id: string; readonly name: string; readonly arguments: string }[];
  readonly toolCallId?: string;
}

/** A tool, and where in the request it is. */
interface Offered {
  readonly place: string;
  readonly tool: MessageInitShape<typeof ToolSchema>;
}

/** A request, and what its answer says again of it. */
export interface ResponsesRequest {
  readonly request: ChatRequest;
  readonly stream: boolean;
  /** The fields of the answer that repeat the request. */
  readonly echo: Json;
  /** The types of tools that were offered and that no model here is told of, each once. */
  readonly leftOut: readonly string[];
  readonly places: Places;
}

/** Content parts that hold text, by type, and the field that has it. */
const textParts: Readonly<Record<string, string>> = {
  input_text: "text",
  output_text: "text",
  text: "text",
  refusal: "refusal",
};

/** What would need an answer of before, or a model that works on its own. */
const stateful = ["previous_response_id", "conversation", "prompt"];

/**
 * Throws MALFORMED_BODY, or INVALID_FIELD that names the field. Fields that
 * change nothing here are passed over; one that asks for what there is not
 * (an earlier answer, an image, a schema for the text) is refused.
 */
export function toResponsesRequest(body: Uint8Array): ResponsesRequest {
  const reader = readBody(body);
  for (const name of stateful) {
    if (reader.raw(name) !== undefined) {
      throw invalidField(name, "nothing is stored here: send the whole conversation as input");
    }
  }
  if (reader.boolean("background")) throw invalidField("background", "must be false");
  reader.boolean("store");
  reader.strings("include");
  checkText(reader);
  const instructions = reader.string("instructions");
  const input = messagesOf(reader);
  if (input.length === 0) throw invalidField("input", "must have at least one message");
  const maxTokens = reader.integer("max_output_tokens", tokenBounds);
  const temperature = reader.number("temperature");
  const topP = reader.number("top_p");
  const { tools: offered, leftOut } = toolsOf(reader);
  const tools = offered.map(({ tool }) => tool);
  const system = { place: "instructions", role: "system", content: instructions, toolCalls: [] };
  const all = instructions === "" ? input : [system, ...input];
  const metadata = reader.raw("metadata");
  return {
    request: create(ChatRequestSchema, {
      model: reader.string("model"),
      messages: all.map(({ place: _, ...message }) => message),
      tools,
      params: {
        maxTokens: maxTokens ?? 0,
        ...(temperature !== undefined && { temperature }),
        ...(topP !== undefined && { topP }),
      },
    }),
    stream: reader.boolean("stream"),
    echo: {
      instructions: instructions === "" ? null : instructions,
      max_output_tokens: maxTokens ?? null,
      metadata: isObject(metadata) ? metadata : {},
      parallel_tool_calls: reader.raw("parallel_tool_calls") !== false,
      temperature: temperature ?? null,
      tool_choice: reader.raw("tool_choice") ?? "auto",
      tools: tools.map((tool) => ({ type: "function", strict: false, parameters: {}, ...tool })),
      top_p: topP ?? null,
    },
    leftOut,
    places: { messages: all.map(({ place }) => place), tools: offered.map(({ place }) => place) },
  };
}

/** Text in a given form needs a model that is held to it. */
function checkText(reader: JsonReader): void {
  if (reader.raw("text") === undefined) return;
  const text = reader.object("text");
  if (text.raw("format") === undefined) return;
  const type = text.object("format").string("type");
  if (type !== "text") throw invalidField("text.format.type", "only text is made");
}

function messagesOf(reader: JsonReader): Message[] {
  const input = reader.raw("input");
  if (typeof input === "string") {
    return [{ place: "input", role: "user", content: input, toolCalls: [] }];
  }
  if (!Array.isArray(input)) throw invalidField("input", "must be a string or a list of items");
  const messages: Message[] = [];
  for (const item of reader.list("input")) addItem(messages, item);
  return messages;
}

/** What a model said and called in one turn are several items, and one message. */
function addItem(messages: Message[], item: JsonReader): void {
  const type = item.string("type") || "message";
  switch (type) {
    case "message": {
      const role = roleOf(item);
      const content = contentOf(item, "content");
      if (role === "assistant") saidBy(messages, item.path).content += content;
      else messages.push({ place: item.path, role, content, toolCalls: [] });
      return;
    }
    case "function_call": {
      saidBy(messages, item.path).toolCalls.push({
        id: item.string("call_id"),
        name: item.string("name"),
        arguments: item.string("arguments"),
      });
      return;
    }
    case "function_call_output": {
      const content = contentOf(item, "output");
      const toolCallId = item.string("call_id");
      messages.push({ place: item.path, role: "tool", content, toolCalls: [], toolCallId });
      return;
    }
    case "reasoning":
      // What another turn thought is of no use to a model that did not think it.
      return;
    default:
      throw invalidField(
        item.at("type"),
        "wants message, function_call, function_call_output or reasoning",
      );
  }
}

/** The message of the model's turn that is being read. */
function saidBy(messages: Message[], place: string): Message {
  const last = messages.at(-1);
  if (last?.role === "assistant") return last;
  const message = { place, role: "assistant", content: "", toolCalls: [] };
  messages.push(message);
  return message;
}

function roleOf(item: JsonReader): string {
  const role = item.string("role");
  if (role === "developer") return "system";
  if (role === "system" || role === "user" || role === "assistant") return role;
  throw invalidField(item.at("role"), "wants system, developer, user or assistant");
}

/** A text, or a list of parts with text. */
function contentOf(item: JsonReader, name: string): string {
  if (!Array.isArray(item.raw(name))) return item.string(name);
  return item
    .list(name)
    .map((part) => {
      const type = part.string("type");
      const field = Object.hasOwn(textParts, type) ? textParts[type] : undefined;
      if (field === undefined)
        throw invalidField(part.at("type"), "only parts with text are taken");
      return part.string(field);
    })
    .join("");
}

/** Functions; other tools would have to be run by the model's provider. */
function toolsOf(reader: JsonReader): { tools: Offered[]; leftOut: string[] } {
  const leftOut = new Set<string>();
  const tools = reader.list("tools").flatMap((tool) => {
    const type = tool.string("type");
    if (type === "function") return [{ place: tool.path, tool: toTool(tool) }];
    leftOut.add(type);
    return [];
  });
  return { tools: chosen(tools, reader.raw("tool_choice")), leftOut: [...leftOut] };
}

/** Where no function or only one may be called, no other is offered. */
function chosen(tools: Offered[], choice: unknown): Offered[] {
  if (choice === "none") return [];
  if (!isObject(choice) || choice.type !== "function") return tools;
  const only = tools.filter(({ tool }) => tool.name === choice.name);
  if (only.length === 0) throw invalidField("tool_choice.name", "is no tool of this request");
  return only;
}
