/**
 * A server that speaks OpenAI's chat completions, embeddings and models as they
 * are documented, from a few rules: `count to <n>` counts, `use the tool` calls
 * the first tool, `go on` never ends, models named after faults have them.
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
const openAiStandInWindow = 300;

const models = ["stand-in-chat", "stand-in-embed", "cut", "garbage", "error-event", "filtered"];

/** Starts the stand-in. Its base URL is `<url>/v1`. */
export function startOpenAiStandIn(): Promise<StandIn> {
  return startStandIn((path, body, response) => {
    switch (path) {
      case "/v1/models":
        sendJson(response, 200, {
          object: "list",
          data: models.map((id) => ({ id, object: "model", created: 1, owned_by: "stand-in" })),
        });
        return;
      case "/v1/embeddings":
        return embed(body, response);
      case "/v1/chat/completions":
        return chat(body, response);
      default:
        fail(response, 404, "unknown_url", `Unknown request URL: POST ${path}`);
    }
  });
}

async function chat(body: Json, response: ServerResponse): Promise<void> {
  const model = String(body.model);
  if (refused(model, response)) return;
  const { last, words } = wordsOf(body.messages);
  if (words > openAiStandInWindow) {
    const message = `This model's maximum context length is ${openAiStandInWindow} tokens. However, your messages resulted in ${words} tokens.`;
    fail(response, 400, "context_length_exceeded", message);
    return;
  }
  openEvents(response);
  const send = (delta: Json, finish: string | null = null) =>
    sendEvent(response, chunk(model, [{ index: 0, delta, logprobs: null, finish_reason: finish }]));
  await send({ role: "assistant", content: "" });
  let sent = 0;
  let finish = "stop";
  const tools = Array.isArray(body.tools) ? body.tools : [];
  if (last.includes("use the tool") && tools.length > 0) {
    const name = tools[0].function.name;
    for (const id of [0, 1]) {
      const call = { index: id, id: `call_${id}`, type: "function" };
      await send({ tool_calls: [{ ...call, function: { name, arguments: "" } }] });
      for (const part of ['{"ci', 'ty":"Bern"', "}"]) {
        await send({ tool_calls: [{ index: id, function: { arguments: part } }] });
      }
    }
    finish = "tool_calls";
  } else {
    const most = Number(body.max_tokens ?? body.max_completion_tokens ?? Number.POSITIVE_INFINITY);
    for (const content of last.includes("go on") ? endless() : answerWords(last)) {
      if (sent >= most) {
        finish = "length";
        break;
      }
      sent += 1;
      if (!(await send({ content }))) return;
      if (model === "cut") return void response.end();
      if (model === "garbage") await sendEvent(response, "{not json");
      if (model === "error-event") {
        await sendEvent(response, { error: { message: "overloaded", type: "server_error" } });
        return void response.end();
      }
    }
  }
  await send({}, model === "filtered" ? "content_filter" : finish);
  const usage = { prompt_tokens: words, completion_tokens: sent, total_tokens: words + sent };
  await sendEvent(response, { ...chunk(model, []), usage });
  await sendEvent(response, "[DONE]");
  response.end();
}

function embed(body: Json, response: ServerResponse): void {
  const texts = Array.isArray(body.input) ? body.input.map(String) : [String(body.input)];
  if (body.model !== "stand-in-embed") {
    fail(response, 404, "model_not_found", `The model '${body.model}' does not exist`);
    return;
  }
  const data = texts.map((text, index) => ({
    object: "embedding",
    index,
    // Not of length 1: bringing it there is the provider's duty.
    embedding: [text.length + 1, 2, 3, text.codePointAt(0) ?? 0],
  }));
  const usage = { prompt_tokens: texts.length, total_tokens: texts.length };
  sendJson(response, 200, { object: "list", data: data.reverse(), model: body.model, usage });
}

/** Answers for models that refuse everything. */
function refused(model: string, response: ServerResponse): boolean {
  if (models.includes(model)) return false;
  if (model === "busy") {
    const error = { message: "Rate limit reached", type: "requests", code: "rate_limit_exceeded" };
    sendJson(response, 429, { error }, { "retry-after": "7" });
  } else if (model === "broken") fail(response, 500, "server_error", "The server had an error");
  else if (model === "locked")
    fail(response, 401, "invalid_api_key", "Incorrect API key: sk-12345678");
  else if (model === "broke") fail(response, 429, "insufficient_quota", "You exceeded your quota");
  else fail(response, 404, "model_not_found", `The model '${model}' does not exist`);
  return true;
}

function fail(response: ServerResponse, status: number, code: string, message: string): void {
  sendJson(response, status, {
    error: { message, type: "invalid_request_error", param: null, code },
  });
}

function chunk(model: string, choices: readonly Json[]): Json {
  return { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model, choices };
}

function* endless(): Generator<string> {
  for (;;) yield " on";
}
