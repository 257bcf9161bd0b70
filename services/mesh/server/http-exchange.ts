/** One HTTP request and its answer, alike for HTTP/1.1 and HTTP/2. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { isProxied, type Peer } from "../context/index.ts";
import {
  DevmeshError,
  type Problem,
  problemType,
  toDevmeshError,
  toProblem,
} from "../errors/index.ts";
import { StallTimer } from "./stall-timer.ts";

/** What may stand as a request's id: the same as in `observeInterceptor`. */
const requestIdPattern = /^[A-Za-z0-9._:-]{1,128}$/;

/** Answers an exchange; false if it is not this handler's. Thrown errors become problems. */
export type HttpHandler = (exchange: HttpExchange) => Promise<boolean> | boolean;

/** A request of either version. */
export type HttpRequest = IncomingMessage | Http2ServerRequest;
/** A response of either version, in the part that both have. */
export type HttpResponse = (ServerResponse | Http2ServerResponse) & {
  setHeader(name: string, value: string | readonly string[]): unknown;
  writeHead(status: number, headers?: Record<string, string>): unknown;
  write(data: string | Uint8Array): boolean;
  end(data?: string | Uint8Array): unknown;
};

/** A request and its answer. */
export class HttpExchange {
  readonly req: HttpRequest;
  readonly res: HttpResponse;
  readonly url: URL;
  /** `GET`, `POST`, … */
  readonly verb: string;
  readonly headers: Headers;
  readonly peer: Peer;
  /** Aborts when the client goes away before the answer is whole. */
  readonly signal: AbortSignal;
  readonly #stall: StallTimer;

  /** `stallTimeoutMs`: how long the client may take nothing of the answer until it is cut. */
  constructor(req: HttpRequest, res: HttpResponse, stallTimeoutMs = 60_000) {
    this.#stall = new StallTimer(stallTimeoutMs, () => res.destroy());
    this.req = req;
    this.res = res;
    this.verb = req.method ?? "GET";
    this.headers = toHeaders(req);
    this.peer = peerOf(req, this.headers);
    this.url = parseUrl(req.url ?? "/");
    const controller = new AbortController();
    this.signal = controller.signal;
    res.on("close", () => {
      this.#stall.end();
      // Not `writableFinished`: an HTTP/2 response that was reset says true there.
      if (!res.writableEnded) {
        controller.abort(new DevmeshError("CANCELLED", "the caller went away"));
      }
    });
  }

  /** A header's value, or the empty text. */
  header(name: string): string {
    return this.headers.get(name) ?? "";
  }

  /**
   * The whole body. Throws CANCELLED if its sender leaves, and TOO_LARGE beyond
   * `maxBytes`, after reading as much again to no purpose: a client that still
   * sends would miss the refusal.
   */
  async body(maxBytes: number): Promise<Uint8Array> {
    let chunks: Buffer[] = [];
    let size = 0;
    try {
      // The request is not destroyed with the loop: its connection takes the refusal.
      for await (const chunk of this.req.iterator({ destroyOnReturn: false })) {
        const bytes = chunk as Buffer;
        size += bytes.length;
        if (size <= maxBytes) chunks.push(bytes);
        else chunks = [];
        if (size > 2 * maxBytes) break;
      }
    } catch (cause) {
      throw new DevmeshError("CANCELLED", "the caller went away", { cause });
    }
    if (size <= maxBytes) return Buffer.concat(chunks);
    throw new DevmeshError("TOO_LARGE", `the body is larger than ${maxBytes} bytes`, {
      metadata: { limit_bytes: String(maxBytes) },
    });
  }

  /** Answers JSON. */
  json(status: number, value: unknown, type = "application/json"): void {
    this.bytes(status, type, Buffer.from(JSON.stringify(value)));
  }

  /** Answers bytes of a media type. */
  bytes(
    status: number,
    type: string,
    body: Uint8Array,
    headers: Record<string, string> = {},
  ): void {
    this.res.writeHead(status, {
      "content-type": type,
      "content-length": String(body.byteLength),
      ...headers,
    });
    this.res.end(this.verb === "HEAD" ? undefined : body);
  }

  /** Starts an answer of server-sent events that no proxy holds back. */
  startEventStream(): void {
    this.res.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    });
  }

  /** Writes a part of the answer; waits while the client is slow. */
  async write(data: string | Uint8Array): Promise<void> {
    this.signal.throwIfAborted();
    if (this.res.write(data)) return;
    this.#stall.sent();
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#stall.taken();
        this.res.removeListener("drain", done);
        this.res.removeListener("close", done);
        resolve();
      };
      this.res.on("drain", done);
      this.res.on("close", done);
    });
  }

  /** The problem document of an error. */
  problem(error: unknown): Problem {
    return toProblem(toDevmeshError(error), this.#requestId(error));
  }

  /** Answers an error, unless the head is out already: then the connection is cut. */
  fail(error: unknown): void {
    if (this.res.headersSent) {
      this.res.destroy();
      return;
    }
    const problem = this.problem(error);
    const failure = toDevmeshError(error);
    if (problem.requestId !== "") this.res.setHeader("x-request-id", problem.requestId);
    if (problem.status === 401) this.res.setHeader("www-authenticate", "Bearer");
    if (failure.metadata.allow !== undefined) this.res.setHeader("allow", failure.metadata.allow);
    if (failure.retryAfterMs !== undefined) {
      this.res.setHeader("retry-after", String(Math.ceil(failure.retryAfterMs / 1000)));
    }
    this.dropBody();
    this.json(problem.status, problem, problemType);
  }

  /**
   * Before an answer that does not wait for the body: unread it would be taken
   * for the next request of the connection. It is thrown away as it comes: a
   * connection closed on it would lose the answer.
   */
  dropBody(): void {
    if (this.req.complete) return;
    if (this.req.httpVersionMajor === 1) this.res.setHeader("connection", "close");
    this.req.resume();
  }

  #requestId(error: unknown): string {
    const metadata = (error as { metadata?: unknown }).metadata;
    const known = metadata instanceof Headers ? metadata.get("x-request-id") : null;
    const given = this.header("x-request-id");
    return known ?? (requestIdPattern.test(given) ? given : "");
  }
}

/** The refusal of a path's wrong method; `allowed` are those it takes. */
export function methodNotAllowed(path: string, allowed: readonly string[]): DevmeshError {
  const verbs = [
    ...new Set(allowed.flatMap((verb) => (verb === "GET" ? ["GET", "HEAD"] : [verb]))),
  ];
  const allow = verbs.join(", ");
  return new DevmeshError("METHOD_NOT_ALLOWED", `${path} takes ${allow}`, { metadata: { allow } });
}

/** What the listener can tell of a request's sender. */
export function peerOf(req: HttpRequest, headers: Headers): Peer {
  return {
    address: req.socket.remoteAddress ?? "",
    host: headers.get("host") ?? "",
    origin: headers.get("origin") ?? "",
    get proxied() {
      return isProxied(headers);
    },
  };
}

/** The request's headers; HTTP/2's `:authority` stands as `host`. */
export function toHeaders(req: HttpRequest): Headers {
  const headers = new Headers();
  for (const [key, value] of Object.entries(req.headers)) {
    if (value === undefined) continue;
    if (key === ":authority") headers.set("host", String(value));
    else if (!key.startsWith(":"))
      headers.set(key, Array.isArray(value) ? value.join(", ") : value);
  }
  return headers;
}

const base = "http://devmesh";

/** A target that is no URL stands as one segment of a path: there is nothing at it. */
function parseUrl(target: string): URL {
  const url = URL.parse(target.startsWith("/") ? `${base}${target}` : target);
  return url ?? new URL(`/${encodeURIComponent(target.toWellFormed())}`, base);
}
