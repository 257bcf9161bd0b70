/** Requests of the Responses API, which no descriptor describes. */
import { hostileJson, hostileText } from "./hostile.ts";
import type { Making, SentField, SentMessage } from "./messages.ts";

const none = Buffer.alloc(0);

/** A responses request: sound but for a few fields. */
export function responsesMessage({ random, wrong }: Pick<Making, "random" | "wrong">): SentMessage {
  const fields: SentField[] = [];
  const add = (name: string, chance: number, make: () => unknown) => {
    if (!random.chance(chance)) return;
    const json = random.chance(wrong) ? hostileJson(random) : JSON.stringify(make());
    fields.push({ name, json, wire: none });
  };
  const text = () => (random.chance(wrong) ? hostileText(random) : random.word());
  const parts = () => [
    { type: random.pick(["input_text", "output_text", "refusal", text()]), text: text() },
  ];
  const items = [
    () => ({ role: random.pick(["user", "system", text()]), content: text() }),
    () => ({ type: "message", role: random.pick(["assistant", "developer"]), content: parts() }),
    () => ({ type: "function_call", call_id: text(), name: text(), arguments: "{}" }),
    () => ({
      type: "function_call_output",
      call_id: text(),
      output: random.pick([text(), parts()]),
    }),
    () => ({ type: "reasoning", summary: [], encrypted_content: text() }),
    () => ({ type: text() }),
  ];
  const tools = [
    () => ({ type: "function", name: text(), description: text(), parameters: {}, strict: false }),
    () => ({ type: random.pick(["web_search", "namespace", "custom", text()]), tools: [] }),
    () => ({}),
  ];
  const list = (makers: readonly (() => unknown)[]) =>
    Array.from({ length: random.below(5) }, () => random.pick(makers)());
  add("model", 0.9, () => random.pick(["", "chat", text()]));
  add("input", 0.95, () => (random.chance(0.2) ? text() : list(items)));
  add("instructions", 0.5, text);
  add("tools", 0.4, () => list(tools));
  add("tool_choice", 0.2, () =>
    random.pick(["none", "auto", "required", { type: "function", name: text() }]),
  );
  add("stream", 0.3, () => random.chance(0.5));
  add("store", 0.3, () => false);
  add("include", 0.3, () => ["reasoning.encrypted_content"]);
  add("text", 0.2, () => ({ format: { type: random.pick(["text", "json_schema"]) } }));
  add("max_output_tokens", 0.2, () => random.pick([0, 1, 1_000_000, 1_000_001]));
  add("temperature", 0.2, () => random.pick([0, 1, 2, 3, -1]));
  add("top_p", 0.2, () => random.next());
  add("previous_response_id", 0.05, text);
  add("background", 0.05, () => random.chance(0.5));
  add("metadata", 0.1, () => ({ [text()]: text() }));
  add("prompt_cache_key", 0.1, text);
  return { fields };
}
