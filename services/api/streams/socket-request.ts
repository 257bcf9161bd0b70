/** What a request for a job's WebSocket must say; refused before the upgrade if it does not. */
import { DevmeshError, invalidField } from "@devmesh/mesh/errors";
import { type HttpExchange, type HttpHandler, methodNotAllowed } from "@devmesh/mesh/server";

/** What a watcher asks for. */
export interface WatchRequest {
  readonly id: string;
  readonly from: number;
}

/** Throws NO_SUCH_ROUTE, METHOD_NOT_ALLOWED, and INVALID_FIELD that names the header or parameter. */
export function watchRequestOf(exchange: HttpExchange): WatchRequest {
  const { pathname, searchParams } = exchange.url;
  const id = streamedJob(pathname);
  if (id === undefined) {
    throw new DevmeshError("NO_SUCH_ROUTE", `there is no WebSocket at ${pathname}`);
  }
  requireHandshake(exchange);
  for (const name of searchParams.keys()) {
    if (name !== "from") throw invalidField(name || '""', "there is no such parameter, only from");
  }
  const from = searchParams.get("from") ?? "0";
  if (!/^\d{1,10}$/.test(from) || Number(from) > 0xffff_ffff) {
    throw invalidField("from", "wants the number of an event, from 0 to 4294967295");
  }
  return { id, from: Number(from) };
}

/** Answers requests for a job's WebSocket that ask for no upgrade: 426. */
export const noSocketHandler: HttpHandler = ({ url, verb }) => {
  if (streamedJob(url.pathname) === undefined) return false;
  if (verb !== "GET" && verb !== "HEAD") throw methodNotAllowed(url.pathname, ["GET"]);
  const text = "this is a WebSocket: ask for an upgrade, or read /v1/jobs/{id}/events";
  throw new DevmeshError("UPGRADE_REQUIRED", text, { metadata: { upgrade: "websocket" } });
};

/** The job whose stream an address names. */
function streamedJob(pathname: string): string | undefined {
  const segment = /^\/v1\/stream\/([^/]+)$/.exec(pathname)?.[1];
  if (segment === undefined) return undefined;
  try {
    return decodeURIComponent(segment);
  } catch {
    // A broken escape names nothing that exists.
    return undefined;
  }
}

const word = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** The rules of RFC 6455 §4.2.1. */
function requireHandshake(exchange: HttpExchange): void {
  if (exchange.verb !== "GET") throw methodNotAllowed(exchange.url.pathname, ["GET"]);
  if (exchange.header("sec-websocket-version") !== "13") {
    exchange.res.setHeader("sec-websocket-version", "13");
    throw invalidField("Sec-WebSocket-Version", "wants 13");
  }
  if (!/^[+/0-9A-Za-z]{22}==$/.test(exchange.header("sec-websocket-key"))) {
    throw invalidField("Sec-WebSocket-Key", "wants 16 bytes in base64");
  }
  const offered = protocolsOf(exchange.headers);
  if (offered.some((name) => !word.test(name)) || new Set(offered).size < offered.length) {
    throw invalidField("Sec-WebSocket-Protocol", "wants words, each once, with commas between");
  }
}

/** The subprotocols that a client offers. */
export function protocolsOf(headers: Headers): string[] {
  const text = headers.get("sec-websocket-protocol");
  return text === null ? [] : text.split(",").map((name) => name.trim());
}
