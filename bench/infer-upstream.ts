/**
 * The model server's process of the inference bench: speaks OpenAI's dialect
 * and answers at once. The model's name says how a stream is written: `whole`
 * in one piece, `paced` a word every two milliseconds.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const words = Array.from({ length: 60 }, (_, i) => `word${i}${i === 59 ? "." : " "}`);
const usage = { prompt_tokens: 12, completion_tokens: 60, total_tokens: 72 };

const whole = JSON.stringify({
  id: "chatcmpl-bench",
  object: "chat.completion",
  created: 0,
  model: "whole",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: words.join("") },
      finish_reason: "stop",
    },
  ],
  usage,
});

const pieces = words.map((content) => chunk({ content }));
const ending = `${chunk({}, "stop")}${event({ choices: [], usage })}data: [DONE]\n\n`;
const atOnce = pieces.join("") + ending;

const server = createServer((req, res) => {
  let body = "";
  req.setEncoding("utf8");
  req.on("data", (text: string) => {
    body += text;
  });
  req.on("end", () => answer(req.url ?? "", body, res));
});
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(0));

function answer(url: string, body: string, res: ServerResponse): void {
  if (url.endsWith("/models")) {
    const models = ["whole", "paced"].map((id) => ({ id, object: "model", created: 0 }));
    json(res, JSON.stringify({ object: "list", data: models }));
    return;
  }
  const { model, stream } = JSON.parse(body) as { model?: unknown; stream?: unknown };
  if (stream !== true) {
    json(res, whole);
    return;
  }
  res.writeHead(200, { "content-type": "text/event-stream" });
  if (model === "whole") res.end(atOnce);
  else void pace(res);
}

async function pace(res: ServerResponse): Promise<void> {
  for (const piece of pieces) {
    res.write(piece);
    await sleep(2);
  }
  res.end(ending);
}

function json(res: ServerResponse, text: string): void {
  res.writeHead(200, {
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(text)),
  });
  res.end(text);
}

function chunk(delta: object, finish: string | null = null): string {
  return event({ choices: [{ index: 0, delta, finish_reason: finish }] });
}

function event(facts: object): string {
  const head = {
    id: "chatcmpl-bench",
    object: "chat.completion.chunk",
    created: 0,
    model: "whole",
  };
  return `data: ${JSON.stringify({ ...head, ...facts })}\n\n`;
}
