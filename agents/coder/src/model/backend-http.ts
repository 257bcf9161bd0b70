/** Owns HTTP to the backend, over TCP or a Unix socket. What is said is left to `backend-model.ts`. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { Readable } from "node:stream";
import { InputError } from "../input.ts";

/** Where the backend is and who asks. */
export interface BackendHttpOptions {
  /** `unix:/path` or an http(s) URL; a path behind the host is kept. */
  readonly backendUrl: string;
  readonly token: string;
  /** How long the connection may be silent, in milliseconds. Default: 600,000. */
  readonly idleTimeoutMs?: number;
}

/** One connection pool to one backend. */
export class BackendHttp {
  readonly #socketPath: string | undefined;
  readonly #base: URL;
  readonly #token: string;
  readonly #idleTimeoutMs: number;
  readonly #agent: HttpAgent;

  /** Throws `InputError` for an address that is none. */
  constructor({ backendUrl, token, idleTimeoutMs = 600_000 }: BackendHttpOptions) {
    this.#socketPath = socketPathOf(backendUrl);
    this.#base = this.#socketPath === undefined ? baseOf(backendUrl) : new URL("http://localhost/");
    this.#token = token;
    this.#idleTimeoutMs = idleTimeoutMs;
    const secure = this.#base.protocol === "https:";
    this.#agent = secure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  }

  /** Sends JSON; answers as soon as the headers are there. Rejects only where there is no answer. */
  post(path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    return this.#send("POST", path, Buffer.from(JSON.stringify(body)), signal);
  }

  /** Asks for a document. As `post`. */
  get(path: string, signal: AbortSignal): Promise<Response> {
    return this.#send("GET", path, Buffer.alloc(0), signal);
  }

  #send(method: string, path: string, content: Buffer, signal: AbortSignal): Promise<Response> {
    const url = new URL(`${this.#base.pathname.replace(/\/+$/, "")}${path}`, this.#base);
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send(url, {
        method,
        agent: this.#agent,
        signal,
        ...(this.#socketPath !== undefined && { socketPath: this.#socketPath }),
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(content.length > 0 && { "content-type": "application/json" }),
          "content-length": content.length,
          accept: "text/event-stream, application/json",
          "user-agent": "devmesh-coder",
        },
      });
      request.setTimeout(this.#idleTimeoutMs, () => {
        request.destroy(new Error(`no byte for ${this.#idleTimeoutMs / 1000} s`));
      });
      request.once("response", (answer) => resolve(toResponse(answer)));
      request.on("error", reject);
      request.end(content);
    });
  }

  /** Ends the connections. */
  close(): void {
    this.#agent.destroy();
  }
}

function toResponse(answer: IncomingMessage): Response {
  const headers = new Headers();
  for (const [name, value] of Object.entries(answer.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  const status = answer.statusCode ?? 502;
  const hasBody = status !== 204 && status !== 205 && status !== 304;
  if (!hasBody) answer.resume();
  const body = hasBody ? Readable.toWeb(answer) : null;
  return new Response(body as ReadableStream<Uint8Array> | null, { status, headers });
}

function socketPathOf(backendUrl: string): string | undefined {
  if (!backendUrl.startsWith("unix:")) return undefined;
  const path = backendUrl.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
  if (path.startsWith("/")) return path;
  throw new InputError("BACKEND_URL: a Unix socket needs an absolute path");
}

function baseOf(backendUrl: string): URL {
  const url = URL.canParse(backendUrl) ? new URL(backendUrl) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new InputError("BACKEND_URL: must be unix:/path or an http(s) URL");
}
