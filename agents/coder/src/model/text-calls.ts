/**
 * Owns tool calls in plain text, for models that have none of their own: how
 * they are explained, how earlier ones are shown, and how they are read.
 */
import { readJson } from "../tools/repair-json.ts";
import type { Message, ModelCall, ToolDefinition } from "./chat-model.ts";

/** The fence that holds a call. */
const fence = "tool";

/** What the system prompt says of tools. */
function explainTools(tools: readonly ToolDefinition[]): string {
  const rows = tools.map(({ function: { name, description, parameters } }) => {
    return `- ${name}: ${description}\n  arguments: ${JSON.stringify(parameters)}`;
  });
  return [
    "You call a tool by writing a block like this one, which nothing but the tool's name and its arguments as JSON is in:",
    "",
    `\`\`\`${fence}`,
    '{"name": "read_file", "arguments": {"path": "src/main.js"}}',
    "```",
    "",
    "Several blocks are done in their order. End your answer after the last one: the results come in the next message. Never write results yourself.",
    "",
    "The tools:",
    ...rows,
  ].join("\n");
}

/** The conversation in plain text: no message has calls or is a tool's. */
export function asText(messages: readonly Message[], tools: readonly ToolDefinition[]): Message[] {
  const out: Message[] = [];
  const names = new Map<string, string>();
  for (const message of messages) {
    if (message.role === "system" && out.length === 0) {
      const content = typeof message.content === "string" ? message.content : "";
      out.push({ role: "system", content: `${content}\n\n${explainTools(tools)}` });
    } else if (message.role === "assistant") {
      const calls = (message.tool_calls ?? []).filter((call) => call.type === "function");
      for (const { id, function: fn } of calls) names.set(id, fn.name);
      const text = typeof message.content === "string" ? message.content : "";
      const blocks = calls.map(({ function: fn }) => blockOf(fn.name, fn.arguments));
      out.push({ role: "assistant", content: [text, ...blocks].filter(Boolean).join("\n\n") });
    } else if (message.role === "tool") {
      const name = names.get(message.tool_call_id) ?? "the tool";
      const content = typeof message.content === "string" ? message.content : "";
      addResult(out, `Result of ${name}:\n${content}`);
    } else {
      out.push(message);
    }
  }
  return out;
}

/** Results that follow each other are one message: models want turns to alternate. */
function addResult(out: Message[], text: string): void {
  const last = out.at(-1);
  const isResult = last?.role === "user" && String(last.content).startsWith("Result of ");
  if (!isResult) {
    out.push({ role: "user", content: text });
    return;
  }
  out[out.length - 1] = { role: "user", content: `${String(last.content)}\n\n${text}` };
}

function blockOf(name: string, json: string): string {
  let args: unknown = json;
  try {
    args = JSON.parse(json);
  } catch {
    // As the model wrote it.
  }
  return `\`\`\`${fence}\n${JSON.stringify({ name, arguments: args })}\n\`\`\``;
}

/** Text, and the calls in it. */
export interface ReadText {
  /** The text without the blocks. */
  readonly text: string;
  readonly calls: readonly ModelCall[];
}

/** Where calls stand in texts: our fence, one of JSON with a call in it, and the tags of some models. */
const blocks =
  /```(?:tool|tool_call|tool_code|json)[ \t]*\r?\n([\s\S]*?)(?:\r?\n[ \t]*```(?=\s|$)|$(?![\s\S]))|<tool_call>\s*([\s\S]*?)\s*(?:<\/tool_call>|$(?![\s\S]))/g;

/**
 * Reads the calls in a text. A block of our own fence that cannot be read is a
 * call all the same, so that the model hears what is wrong with it; anything
 * else that is no call stays text.
 */
export function readCalls(text: string): ReadText {
  const calls: ModelCall[] = [];
  const rest = text.replaceAll(blocks, (block, fenced?: string, tagged?: string) => {
    const found = callsOf(fenced ?? tagged ?? "");
    const isOurs = block.startsWith("```tool") || block.startsWith("<tool_call>");
    if (found.length === 0 && !isOurs) return block;
    calls.push(...(found.length > 0 ? found : [{ id: "", name: "", arguments: block.trim() }]));
    return "";
  });
  return { text: calls.length === 0 ? text : rest.trim(), calls };
}

function callsOf(body: string): ModelCall[] {
  let value: unknown;
  try {
    value = readJson(body).value;
  } catch {
    // Not JSON, whatever is overlooked: the caller says so.
    return [];
  }
  const rows = Array.isArray(value) ? value : [value];
  const calls = rows.map(callOf);
  return calls.every((call) => call !== undefined) ? calls : [];
}

function callOf(value: unknown): ModelCall | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const row: Readonly<Record<string, unknown>> = { ...value };
  const inner = row.function;
  if (typeof inner === "object" && inner !== null) return callOf(inner);
  const name = row.name ?? row.tool ?? row.tool_name;
  if (typeof name !== "string" || name === "") return undefined;
  const args = row.arguments ?? row.parameters ?? row.args ?? row.input ?? {};
  return { id: "", name, arguments: typeof args === "string" ? args : JSON.stringify(args) };
}
