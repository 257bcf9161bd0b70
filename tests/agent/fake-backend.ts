/**
 * A backend of one route, `/v1/chat/completions`, over a real provider: by
 * default the scripted one. Plays broken peers where a test asks for it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { DevmeshError, statusOf, toDevmeshError } from "@devmesh/mesh/errors";
import type {
  ChatInput,
  ChatPiece,
  Provider,
} from "../../services/inference/providers/provider.ts";
import { parseScript } from "../../services/inference/providers/scripted/script.ts";
import { ScriptedProvider } from "../../services/inference/providers/scripted/scripted-provider.ts";
import { type DialectRequest, toChatInput, toChunks, toCompletion } from "./dialect.ts";

/** How the backend behaves. */
export interface FakeBackendOptions {
  /** A script's value; see the scripted provider. */
  readonly script: unknown;
  /** Default: streams. `whole` answers as one, whatever was asked. */
  readonly form?: "stream" | "whole";
  /** So many answers are cut off after their first chunk. Default: 0. */
  readonly cutAnswers?: number;
  /** The only token it knows. Default: `secret-token`. */
  readonly token?: string;
  /** What it lists at `/v1/llm/models`. Absent: it has no such route. */
  readonly models?: readonly object[];
}

/** A backend on a port or a Unix socket. */
export class FakeBackend {
  /** What was asked, in order. */
  readonly requests: DialectRequest[] = [];
  readonly #server: Server;
  readonly #provider: Provider;
  readonly #form: "stream" | "whole";
  readonly #token: string;
  readonly #models: readonly object[] | undefined;
  #cutAnswers: number;

  private constructor(options: FakeBackendOptions) {
    this.#provider = new ScriptedProvider({ script: parseScript(options.script) });
    this.#form = options.form ?? "stream";
    this.#models = options.models;
    this.#cutAnswers = options.cutAnswers ?? 0;
    this.#token = options.token ?? "secret-token";
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : new Error(String(error)));
      });
    });
  }

  /** Listens on a free port, or on the Unix socket. */
  static async listen(options: FakeBackendOptions, socketPath?: string): Promise<FakeBackend> {
    const backend = new FakeBackend(options);
    await new Promise<void>((resolve) => {
      if (socketPath === undefined) backend.#server.listen(0, "127.0.0.1", resolve);
      else backend.#server.listen(socketPath, resolve);
    });
    return backend;
  }

  /** Its address, as BACKEND_URL has it. */
  get url(): string {
    const address = this.#server.address() as AddressInfo | string;
    return typeof address === "string" ? `unix:${address}` : `http://127.0.0.1:${address.port}`;
  }

  /** Ends it and all connections. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers.authorization !== `Bearer ${this.#token}`) {
      sendError(response, new DevmeshError("UNAUTHENTICATED", "no such token"));
      return;
    }
    if (request.url === "/v1/llm/models" && this.#models !== undefined) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ models: this.#models }));
      return;
    }
    if (request.url !== "/v1/chat/completions" || request.method !== "POST") {
      sendError(response, new DevmeshError("NO_SUCH_ROUTE", `${request.url}`));
      return;
    }
    const body = (await json(request)) as DialectRequest;
    this.requests.push(body);
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const [model] = await this.#provider.listModels();
    const input = toChatInput(body, model?.name ?? "");
    if (this.#form === "whole") await this.#sendWhole(input, response, gone.signal);
    else await this.#sendStream(input, response, gone.signal);
  }

  async #sendWhole(input: ChatInput, response: ServerResponse, signal: AbortSignal) {
    try {
      const pieces: ChatPiece[] = [];
      for await (const piece of this.#provider.chat(input, signal)) pieces.push(piece);
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(toCompletion(pieces, `scripted/${input.model}`)));
    } catch (error) {
      sendError(response, error);
    }
  }

  async #sendStream(input: ChatInput, response: ServerResponse, signal: AbortSignal) {
    const isCut = this.#cutAnswers > 0;
    if (isCut) this.#cutAnswers -= 1;
    let hasBegun = false;
    const send = (data: unknown) => response.write(`data: ${JSON.stringify(data)}\n\n`);
    try {
      const pieces: AsyncIterable<ChatPiece> = this.#provider.chat(input, signal);
      for await (const chunk of toChunks(pieces, `scripted/${input.model}`)) {
        if (!hasBegun) response.writeHead(200, { "content-type": "text/event-stream" });
        hasBegun = true;
        send(chunk);
        if (isCut) {
          // The peer sees the chunk and then the end of the connection.
          response.socket?.end();
          return;
        }
      }
      response.end("data: [DONE]\n\n");
    } catch (error) {
      if (!hasBegun) {
        sendError(response, error);
        return;
      }
      send(errorBody(toDevmeshError(error)));
      response.end();
    }
  }
}

function sendError(response: ServerResponse, error: unknown): void {
  const known = toDevmeshError(error);
  if (known.retryAfterMs !== undefined) {
    response.setHeader("retry-after", String(known.retryAfterMs / 1000));
  }
  response.writeHead(statusOf(known.reason), { "content-type": "application/json" });
  response.end(JSON.stringify(errorBody(known)));
}

/** The dialect's own shape. */
function errorBody({ reason, message }: DevmeshError): object {
  const type = statusOf(reason) < 500 ? "invalid_request_error" : "api_error";
  return { error: { message, type, param: null, code: reason.toLowerCase() } };
}
