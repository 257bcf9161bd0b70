/**
 * What the stand-ins of model servers share: a small HTTP server on a free
 * port, server-sent events, and a count of the callers that went away.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

/** A running stand-in. */
export interface StandIn {
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** How many answers were left by their caller before their end. */
  aborted(): number;
  /** Resolves when one more answer was left by its caller than at the time of the call. */
  nextAbort(): Promise<void>;
  stop(): Promise<void>;
}

/** A JSON body. */
export type Json = Record<string, unknown>;

/** Answers one request; `body` is an empty object for requests without one. */
export type StandInHandler = (
  path: string,
  body: Json,
  response: ServerResponse,
) => Promise<void> | void;

/** Starts a server that leaves every request to `handle`. */
export async function startStandIn(handle: StandInHandler): Promise<StandIn> {
  let aborted = 0;
  const waiting: (() => void)[] = [];
  const server = createServer((request, response) => {
    response.on("close", () => {
      if (response.writableFinished) return;
      aborted += 1;
      for (const wake of waiting.splice(0)) wake();
    });
    answer(request, response, handle).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no TCP port was given");
  return {
    url: `http://127.0.0.1:${address.port}`,
    aborted: () => aborted,
    nextAbort: () => new Promise((resolve) => waiting.push(resolve)),
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** Sends a JSON answer. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: Json,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** Opens a stream of server-sent events. */
export function openEvents(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  response.flushHeaders();
}

/** Sends one event and gives the caller its turn. False: the caller is gone. */
export async function sendEvent(
  response: ServerResponse,
  data: Json | string,
  event?: string,
): Promise<boolean> {
  if (response.destroyed) return false;
  const text = typeof data === "string" ? data : JSON.stringify(data);
  response.write(`${event === undefined ? "" : `event: ${event}\n`}data: ${text}\n\n`);
  await new Promise((resolve) => setImmediate(resolve));
  return !response.destroyed;
}

/** What the last message says, as text, and how many words the whole conversation has. */
export function wordsOf(messages: unknown): { last: string; words: number } {
  const texts = Array.isArray(messages) ? messages.map((m: Json) => JSON.stringify(m.content)) : [];
  return { last: texts.at(-1) ?? "", words: texts.join(" ").split(/\s+/).length };
}

/** `one two three …`: as many words as a stand-in answers to `count to <n>`, else three. */
export function answerWords(last: string): string[] {
  const count = Number(/count to (\d+)/.exec(last)?.[1] ?? 3);
  return Array.from({ length: count }, (_, i) => (i === 0 ? "1" : ` ${i + 1}`));
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  handle: StandInHandler,
): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  const text = Buffer.concat(parts).toString("utf8");
  await handle(request.url ?? "/", text === "" ? {} : JSON.parse(text), response);
}
