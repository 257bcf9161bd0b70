/** Requests of the OpenAI dialect, which no descriptor describes. */
import { hostileJson, hostileText } from "./hostile.ts";
import type { Making, SentField, SentMessage } from "./messages.ts";

const none = Buffer.alloc(0);

/** A chat/completions request: sound but for a few fields. */
export function openAiMessage({ random, wrong }: Making): SentMessage {
  const fields: SentField[] = [];
  const add = (name: string, chance: number, make: () => unknown) => {
    if (!random.chance(chance)) return;
    const json = random.chance(wrong) ? hostileJson(random) : JSON.stringify(make());
    fields.push({ name, json, wire: none });
  };
  const text = () => (random.chance(wrong) ? hostileText(random) : random.word());
  const call = () => ({ id: text(), function: { name: text(), arguments: "{}" } });
  const message = () => ({
    role: random.chance(wrong) ? text() : random.pick(["system", "user", "assistant", "developer"]),
    content: random.pick([text(), null, [{ type: "text", text: text() }], [{ type: "image" }]]),
    ...(random.chance(0.1) && { tool_calls: [call()] }),
  });
  add("model", 0.9, () => random.pick(["", "chat", text()]));
  add("messages", 0.97, () => Array.from({ length: random.below(4) }, message));
  add("n", 0.1, () => random.pick([1, 2, 0]));
  add("stream", 0.3, () => random.chance(0.5));
  add("stream_options", 0.1, () => ({ include_usage: true }));
  add("temperature", 0.2, () => random.pick([0, 1, 2, 3, -1]));
  add("top_p", 0.2, () => random.next());
  add("max_tokens", 0.2, () => random.pick([0, 1, 1_000_000, 1_000_001]));
  add("seed", 0.2, () => random.pick([0, -1, 2 ** 53 - 1, 2 ** 53]));
  add("stop", 0.2, () => random.pick([text(), [text()], [], Array(17).fill("x")]));
  add("tools", 0.2, () => [{ type: "function", function: { name: text(), parameters: {} } }]);
  add("tool_choice", 0.1, () => random.pick(["none", "auto", { type: "function" }]));
  return { fields };
}
