/** One HTTP request and its answer, alike for HTTP/1.1 and HTTP/2. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { isProxied, type Peer } from "../context/index.ts";
import {
  DevmeshError,
  type Problem,
  problemType,
  statusOf,
  toDevmeshError,
  toProblem,
} from "../errors/index.ts";
import type { Logger } from "../log/index.ts";
import { redact } from "../log/index.ts";
import type { Ids } from "../runtime/index.ts";
import { readBody } from "./request-body.ts";
import { nameRequest, ownIds } from "./request-ids.ts";
import { StallTimer } from "./stall-timer.ts";

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

/** What an exchange works with. */
export interface ExchangeOptions {
  /** How long the client may take nothing of the answer until it is cut. Default: 60,000 ms. */
  readonly stallTimeoutMs?: number;
  /** Name requests that have no name. Default: ids of this process. */
  readonly ids?: Ids;
  /** Where refusals leave a line that no call's chain has logged. Default: nowhere. */
  readonly logger?: Logger | undefined;
}

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
  /** The id under which the log knows this request; each answer has it as `x-request-id`. */
  readonly requestId: string;
  readonly #logger: Logger | undefined;
  readonly #stall: StallTimer;

  constructor(req: HttpRequest, res: HttpResponse, options: ExchangeOptions = {}) {
    const { stallTimeoutMs = 60_000, ids = ownIds, logger } = options;
    this.#logger = logger;
    this.#stall = new StallTimer(stallTimeoutMs, () => res.destroy());
    this.req = req;
    this.res = res;
    this.verb = req.method ?? "GET";
    this.headers = toHeaders(req);
    this.requestId = nameRequest(this.headers, ids);
    res.setHeader("x-request-id", this.requestId);
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
   * The whole body, without its `Content-Encoding`. Throws CANCELLED if its
   * sender leaves, TOO_LARGE beyond `maxBytes`, UNSUPPORTED_MEDIA_TYPE for an
   * encoding that is not known, and MALFORMED_BODY for a body that is not in it.
   */
  body(maxBytes: number): Promise<Uint8Array> {
    return readBody(this.req, this.header("content-encoding"), maxBytes);
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
    return toProblem(toDevmeshError(error), callIdOf(error) ?? this.requestId);
  }

  /** Answers an error, unless the head is out already: then the connection is cut. */
  fail(error: unknown): void {
    if (this.res.headersSent) {
      this.res.destroy();
      return;
    }
    const problem = this.problem(error);
    this.refuseWith(error);
    this.dropBody();
    this.json(problem.status, problem, problemType);
  }

  /**
   * Sets the headers that go with a refusal, and leaves its line in the log
   * unless a call's chain has; its body is left to the caller.
   */
  refuseWith(error: unknown): void {
    const failure = toDevmeshError(error);
    const callId = callIdOf(error);
    if (callId === undefined) logRefusal(this.#logger, failure, this);
    else this.res.setHeader("x-request-id", callId);
    for (const [name, value] of refusalHeaders(failure)) this.res.setHeader(name, value);
    const { upgrade } = failure.metadata;
    // HTTP/2 has no upgrades.
    if (upgrade === undefined || this.req.httpVersionMajor !== 1) return;
    this.res.setHeader("connection", "upgrade");
    this.res.setHeader("upgrade", upgrade);
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
}

/** The id that a call's chain has given and logged. */
function callIdOf(error: unknown): string | undefined {
  const metadata = (error as { metadata?: unknown }).metadata;
  return metadata instanceof Headers ? (metadata.get("x-request-id") ?? undefined) : undefined;
}

/** The headers of HTTP that tell more of a refusal. */
function* refusalHeaders(failure: DevmeshError): Generator<readonly [string, string]> {
  const { reason, metadata, retryAfterMs } = failure;
  if (statusOf(reason) === 401) yield ["www-authenticate", "Bearer"];
  if (metadata.allow !== undefined) yield ["allow", metadata.allow];
  if (metadata.accept_encoding !== undefined) yield ["accept-encoding", metadata.accept_encoding];
  if (retryAfterMs !== undefined) yield ["retry-after", String(Math.ceil(retryAfterMs / 1000))];
}

/** The line of a refusal that comes before, or without, a call. */
export function logRefusal(
  logger: Logger | undefined,
  failure: DevmeshError,
  { verb, requestId }: { readonly verb: string; readonly requestId: string },
): void {
  const facts = { verb, requestId, outcome: failure.reason };
  if (failure.reason === "INTERNAL") logger?.error({ ...facts, err: failure.cause }, "http");
  else logger?.info({ ...facts, detail: redact(failure.message) }, "http");
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
