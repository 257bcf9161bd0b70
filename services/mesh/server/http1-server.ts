/**
 * Node's HTTP/1.1 server, with an answer of ours wherever Node would give a
 * bare one, or none. What a request means is left to its handlers.
 */
import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { HttpExchange, type HttpRequest, type HttpResponse } from "./http-exchange.ts";
import { refuseUnread, type UnreadOptions } from "./unread-refusals.ts";

/** What the server is made of. Times are in milliseconds. */
export interface Http1Options extends UnreadOptions {
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  /** Answers a request. */
  readonly handle: (req: HttpRequest, res: HttpResponse) => void;
  /** Answers CONNECT. */
  readonly refuseConnect: (exchange: HttpExchange) => void;
  /** Answers a request that expects more than 100-continue. */
  readonly refuseExpectation: (exchange: HttpExchange) => void;
  /** Takes requests for a WebSocket. Absent: they are requests as any other. */
  readonly upgrade?: ((request: UpgradeRequest) => void) | undefined;
}

/** A request for a WebSocket. */
export interface UpgradeRequest {
  /** Refuses it, until it is taken. */
  readonly exchange: HttpExchange;
  readonly socket: Duplex;
  /** What came behind the request. */
  readonly head: Buffer;
  /** Takes the connection from the exchange: whoever calls it answers from then on. */
  take(): IncomingMessage;
}

/** How long an answer that has begun may take to end, once the client sends what is no HTTP. */
const endLimitMs = 1_000;

/** Makes it; it gets its connections from the listener. */
export function createHttp1(options: Http1Options): Server {
  const { headersTimeoutMs, bodyTimeoutMs, handle, upgrade, ids, logger } = options;
  const { refuseConnect, refuseExpectation } = options;
  const answers = new WeakMap<Duplex, ServerResponse>();
  const server = createServer({
    headersTimeout: headersTimeoutMs,
    requestTimeout: Math.max(bodyTimeoutMs, headersTimeoutMs),
    connectionsCheckingInterval: Math.min(5_000, headersTimeoutMs),
    // It is asked for where there is a body to refuse with.
    requireHostHeader: false,
    // An upgrade to anything else is not asked of us: it may be passed over (RFC 9110 §7.8).
    shouldUpgradeCallback: (req) => upgrade !== undefined && isWebSocket(req),
  });
  // All are read, none is left out: their bytes are bounded.
  server.maxHeadersCount = 0;
  // Starts the checks of headersTimeout and requestTimeout, as listening would.
  server.emit("listening");
  const take = (req: IncomingMessage, res: ServerResponse) => {
    answers.set(req.socket, res);
    handle(req, res as HttpResponse);
  };
  const open = (req: IncomingMessage, res: ServerResponse) =>
    new HttpExchange(req, res as HttpResponse, { ids, logger });
  server.on("request", take);
  server.on("checkExpectation", (req: IncomingMessage, res: ServerResponse) => {
    refuseExpectation(open(req, res));
  });
  server.on("connect", (req: IncomingMessage, socket: Duplex) => {
    refuseConnect(open(req, answerOn(req, socket)));
  });
  server.on("upgrade", (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    const res = answerOn(req, socket);
    const take = () => {
      res.detachSocket(socket as IncomingMessage["socket"]);
      return req;
    };
    upgrade?.({ exchange: open(req, res), socket, head, take });
  });
  const refused = new WeakSet<Duplex>();
  server.on("clientError", (error: Error, socket: Socket) => {
    // It tells the same of every further byte.
    if (refused.has(socket)) return;
    refused.add(socket);
    const answer = answers.get(socket);
    const isOpen = answer !== undefined && !answer.writableFinished;
    const refuse = () => refuseUnread(error, socket, { ids, logger });
    if (!isOpen) return refuse();
    // The fault lies in a request behind one that is answered first.
    const isBehind = answer.req.complete;
    if (!isBehind && !answer.headersSent) return refuse();
    answer.once("close", isBehind ? refuse : () => socket.destroySoon());
    if (!answer.headersSent) return;
    // An answer that has begun is ended; a stream that goes on is broken off.
    const late = setTimeout(() => socket.destroy(), endLimitMs).unref();
    answer.once("close", () => clearTimeout(late));
  });
  return server;
}

function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}

/** An answer on a connection that Node has handed out: it ends with it. */
function answerOn(req: IncomingMessage, socket: Duplex): ServerResponse {
  const res = new ServerResponse(req);
  res.shouldKeepAlive = false;
  res.assignSocket(socket as IncomingMessage["socket"]);
  res.once("finish", () => {
    res.detachSocket(socket as IncomingMessage["socket"]);
    socket.end();
    // What the client still says is for nobody.
    socket.resume();
    socket.once("end", () => socket.destroy());
  });
  return res;
}
