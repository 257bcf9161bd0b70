/**
 * A server that speaks Anthropic's messages and models as they are documented,
 * from a few rules: `count to <n>` counts, `use the tool` calls the first tool,
 * `go on` never ends, models named after faults have them.
 */
import type { ServerResponse } from "node:http";
import {
  answerWords,
  type Json,
  openEvents,
  type StandIn,
  sendEvent,
  sendJson,
  startStandIn,
  wordsOf,
} from "./http.stand-in.ts";

/** The window of `stand-in-chat`, in words. */
const anthropicStandInWindow = 300;

const models = ["stand-in-chat", "cut", "garbage", "error-event", "filtered"];

/** Starts the stand-in. Its base URL is `<url>`. */
export function startAnthropicStandIn(): Promise<StandIn> {
  return startStandIn((path, body, response) => {
    const route = path.split("?")[0];
    if (route === "/v1/models") {
      const data = models.map((id) => ({
        type: "model",
        id,
        display_name: id,
        created_at: "2026-01-01T00:00:00Z",
        max_input_tokens: anthropicStandInWindow,
        max_tokens: 1000,
      }));
      sendJson(response, 200, {
        data,
        has_more: false,
        first_id: models[0],
        last_id: models.at(-1),
      });
      return;
    }
    if (route === "/v1/messages") return messages(body, response);
    fail(response, 404, "not_found_error", "Not found");
  });
}

async function messages(body: Json, response: ServerResponse): Promise<void> {
  const model = String(body.model);
  if (refused(model, response)) return;
  if (typeof body.max_tokens !== "number") {
    return fail(response, 400, "invalid_request_error", "max_tokens: Field required");
  }
  const { last, words } = wordsOf(body.messages);
  if (words > anthropicStandInWindow) {
    const message = `prompt is too long: ${words} tokens > ${anthropicStandInWindow} maximum`;
    return fail(response, 400, "invalid_request_error", message);
  }
  openEvents(response);
  const send = (event: Json) => sendEvent(response, event, String(event.type));
  const usage = { input_tokens: words, output_tokens: 1 };
  const message = { id: "msg_1", type: "message", role: "assistant", model, content: [] };
  await send({
    type: "message_start",
    message: { ...message, stop_reason: null, stop_sequence: null, usage },
  });
  await send({ type: "ping" });
  const tools = Array.isArray(body.tools) ? body.tools : [];
  let stop = "end_turn";
  let sent = 0;
  if (last.includes("use the tool") && tools.length > 0) {
    for (const index of [0, 1]) {
      const block = { type: "tool_use", id: `toolu_${index}`, name: tools[0].name, input: {} };
      await send({ type: "content_block_start", index, content_block: block });
      for (const partial_json of ["", '{"city": "B', 'ern"}']) {
        const delta = { type: "input_json_delta", partial_json };
        await send({ type: "content_block_delta", index, delta });
      }
      await send({ type: "content_block_stop", index });
    }
    stop = "tool_use";
  } else {
    const block = { type: "text", text: "" };
    await send({ type: "content_block_start", index: 0, content_block: block });
    for (const text of last.includes("go on") ? endless() : answerWords(last)) {
      if (sent >= body.max_tokens) {
        stop = "max_tokens";
        break;
      }
      sent += 1;
      const delta = { type: "text_delta", text };
      if (!(await send({ type: "content_block_delta", index: 0, delta }))) return;
      if (model === "cut") return void response.end();
      if (model === "garbage") await sendEvent(response, "{not json", "content_block_delta");
      if (model === "error-event") {
        const error = { type: "overloaded_error", message: "Overloaded" };
        await send({ type: "error", error });
        return void response.end();
      }
    }
    await send({ type: "content_block_stop", index: 0 });
  }
  const delta = { stop_reason: model === "filtered" ? "refusal" : stop, stop_sequence: null };
  await send({ type: "message_delta", delta, usage: { output_tokens: sent } });
  await send({ type: "message_stop" });
  response.end();
}

/** Answers for models that refuse everything. */
function refused(model: string, response: ServerResponse): boolean {
  if (models.includes(model)) return false;
  if (model === "busy") {
    const error = { type: "rate_limit_error", message: "This request would exceed your limit" };
    sendJson(response, 429, { type: "error", error }, { "retry-after": "7" });
  } else if (model === "broken") fail(response, 529, "overloaded_error", "Overloaded");
  else if (model === "locked") fail(response, 401, "authentication_error", "invalid x-api-key");
  else if (model === "broke") fail(response, 402, "billing_error", "Your credit is too low");
  else fail(response, 404, "not_found_error", `model: ${model}`);
  return true;
}

function fail(response: ServerResponse, status: number, type: string, message: string): void {
  sendJson(response, status, { type: "error", error: { type, message }, request_id: "req_1" });
}

function* endless(): Generator<string> {
  for (;;) yield " on";
}
