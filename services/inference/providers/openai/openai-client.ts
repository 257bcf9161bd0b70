/**
 * The way to a server that speaks OpenAI's API: kept connections, JSON, and
 * server-sent events as they come. Tells what went wrong in the server's own
 * words; what that means is left to the provider. Never tries again.
 */

import type { IncomingMessage } from "node:http";
import { type ClientRequest, Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { EventDataReader } from "./event-data.ts";

/** A refusal; no more of it is read. */
const maxErrorBytes = 64 * 1024;

/** A JSON answer: thousands of vectors fit. */
const maxJsonBytes = 256 * 1024 * 1024;

/** The server answered with an error. */
export class OpenAiError extends Error {
  /** The HTTP status; 0 for an error inside a stream. */
  readonly status: number;
  /** The server's own code or type. Empty: none. */
  readonly code: string;
  readonly headers: Headers;

  constructor(status: number, body: unknown, headers: IncomingMessage["headers"] = {}) {
    const { message, code, type } = fieldsOf(body);
    super(String(message ?? `it answered with status ${status}`));
    this.status = status;
    this.code = String(code ?? type ?? "");
    this.headers = new Headers(
      Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]),
    );
  }
}

/** The server could not be asked: no connection, or no answer in time. */
export class OpenAiConnectionError extends Error {}

/** Where the server is and how it knows the caller. */
export interface OpenAiClientOptions {
  readonly baseUrl: string;
  readonly apiKey: string;
  /** Until the answer's headers, in milliseconds. */
  readonly timeoutMs: number;
}

/** One call. */
export interface OpenAiCall {
  /** Below the base URL, without a slash before it. */
  readonly path: string;
  /** Sent as JSON. Absent: a GET. */
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/** A client of one server. */
export class OpenAiClient {
  /** Where every call goes; read from the URL once. */
  readonly #target: { host: string; port: string; path: string };
  readonly #secure: boolean;
  readonly #agent: HttpAgent;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;

  constructor({ baseUrl, apiKey, timeoutMs }: OpenAiClientOptions) {
    const { protocol, hostname, port, pathname } = new URL(baseUrl);
    const host = hostname.replace(/^\[|\]$/g, "");
    this.#target = { host, port, path: pathname.replace(/\/+$/, "") };
    this.#secure = protocol === "https:";
    this.#agent = this.#secure ? new HttpsAgent(kept) : new HttpAgent(kept);
    this.#headers = {
      accept: "application/json, text/event-stream",
      authorization: `Bearer ${apiKey}`,
    };
    this.#timeoutMs = timeoutMs;
  }

  /** A whole answer. Throws OpenAiError, OpenAiConnectionError, SyntaxError. */
  async json(call: OpenAiCall): Promise<unknown> {
    return JSON.parse(await textOf(await this.#send(call), maxJsonBytes));
  }

  /**
   * The events of a streamed answer, parsed: those of one read together, at
   * once. Leaving it early ends the connection. Throws as `json` does, and what
   * the connection throws when it breaks off.
   */
  async *events(call: OpenAiCall): AsyncGenerator<readonly unknown[]> {
    const res = await this.#send(call);
    const reader = new EventDataReader();
    for await (const chunk of res) {
      const events: unknown[] = [];
      try {
        readInto(events, reader.push(chunk as Buffer));
      } finally {
        // What came before a fault is handed on before it.
        if (events.length > 0) yield events;
      }
    }
  }

  /** Ends every connection at once. */
  close(): void {
    this.#agent.destroy();
  }

  async #send(call: OpenAiCall): Promise<IncomingMessage> {
    const res = await this.#answerOf(call);
    const status = res.statusCode ?? 0;
    if (status >= 200 && status < 300) return res;
    throw new OpenAiError(status, await errorIn(res), res.headers);
  }

  #answerOf({ path, body, signal }: OpenAiCall): Promise<IncomingMessage> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const options = {
      ...this.#target,
      path: `${this.#target.path}/${path}`,
      agent: this.#agent,
      method: text === undefined ? "GET" : "POST",
      headers:
        text === undefined
          ? this.#headers
          : {
              ...this.#headers,
              "content-type": "application/json",
              "content-length": Buffer.byteLength(text),
            },
      ...(signal && { signal }),
    };
    return new Promise((resolve, reject) => {
      const req: ClientRequest = this.#secure ? httpsRequest(options) : httpRequest(options);
      const timer = setTimeout(() => {
        req.destroy(new Error(`no answer within ${this.#timeoutMs} ms`));
      }, this.#timeoutMs);
      req.once("response", (res) => {
        clearTimeout(timer);
        resolve(res);
      });
      // Once the answer is there, its own reader sees what breaks.
      req.on("error", (cause) => {
        clearTimeout(timer);
        reject(new OpenAiConnectionError("the server cannot be reached", { cause }));
      });
      req.end(text);
    });
  }
}

/** Parses the data of events up to the mark of the end. Throws OpenAiError, SyntaxError. */
function readInto(events: unknown[], found: readonly string[]): void {
  for (const data of found) {
    if (data === "[DONE]") return;
    const event: unknown = JSON.parse(data);
    if (typeof event !== "object" || event === null) throw new SyntaxError("an event is no object");
    const { error } = event as { readonly error?: unknown };
    if (error) throw new OpenAiError(0, { error });
    events.push(event);
  }
}

const kept = { keepAlive: true, noDelay: true };

async function errorIn(res: IncomingMessage): Promise<unknown> {
  const text = await textOf(res, maxErrorBytes);
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the text itself is what the server said.
    return { error: { message: text.slice(0, 1000) || undefined } };
  }
}

async function textOf(res: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of res) {
    const bytes = chunk as Buffer;
    size += bytes.length;
    if (size > maxBytes) throw new Error(`the answer is larger than ${maxBytes} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Servers say `{"error": {…}}`, `{"error": "…"}` or the fields alone. */
function fieldsOf(body: unknown): { message?: unknown; code?: unknown; type?: unknown } {
  if (typeof body !== "object" || body === null) return {};
  if (!("error" in body)) return body;
  const { error } = body;
  return typeof error === "object" && error !== null ? error : { message: error };
}
