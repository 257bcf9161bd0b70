/**
 * Serves an app on one port: gRPC, Connect, gRPC-Web, REST, health, reflection
 * and whatever HTTP routes the service adds. Drains in order.
 */
import { setMaxListeners } from "node:events";
import { createServer as createHttp2Server, type Http2Session } from "node:http2";
import type { Interceptor } from "@connectrpc/connect";
import { ServerCredentials } from "@grpc/grpc-js";
import { DevmeshError, invalidField } from "../errors/index.ts";
import type { Authenticator } from "../interceptors/index.ts";
import type { Logger } from "../log/index.ts";
import { createRestHandler } from "../rest/rest-handler.ts";
import type { Ids } from "../runtime/index.ts";
import { createAdmission } from "./admission.ts";
import { createConnectEngine } from "./connect-engine.ts";
import { applyCors } from "./cors.ts";
import { drainInterceptor } from "./drain.ts";
import { createGrpcServer } from "./grpc-engine.ts";
import { requireHost } from "./head-faults.ts";
import { HealthState, healthService } from "./health.ts";
import {
  HttpExchange,
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  methodNotAllowed,
} from "./http-exchange.ts";
import { createHttp1, type UpgradeRequest } from "./http1-server.ts";
import { cutLateBody, endUploadAfter } from "./late-body.ts";
import { listen } from "./listener.ts";
import { type BoundMethod, bindMethods } from "./methods.ts";
import { probeHandler } from "./probes.ts";
import { reflectionServices } from "./reflection.ts";
import { ownIds } from "./request-ids.ts";
import type { App } from "./service.ts";

/** How to serve. */
export interface ServerOptions {
  readonly app: App;
  /** Methods of the app behind their interceptors: REST calls these. */
  readonly methods: readonly BoundMethod[];
  /** The same chain, for the engine that binds handlers itself. */
  readonly interceptors: readonly Interceptor[];
  readonly logger: Logger;
  /** Name requests that come without a name. Default: ids of this process. */
  readonly ids?: Ids;
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
  /**
   * Who takes HTTP/2 connections: `grpc-js` is quickest and speaks gRPC only,
   * `connect` speaks gRPC, gRPC-Web, Connect and REST. See ADR 0001.
   */
  readonly http2: "grpc-js" | "connect";
  /** Origins that browsers may call from. */
  readonly corsOrigins?: readonly string[];
  /** Routes of the service, asked in order before REST. */
  readonly routes?: readonly HttpHandler[];
  /**
   * Takes requests for a WebSocket. Absent: they are requests as any other. It
   * ends its sockets when `shutdown` aborts; those that stay are cut with the grace.
   */
  readonly upgrade?: UpgradeHandler;
  /** The largest message or body taken. Default: 20 MiB. */
  readonly maxMessageBytes?: number;
  /** Asked who calls before a body is read. Absent: the chain asks when it was. */
  readonly authenticator?: Authenticator;
  readonly bounds?: Partial<ConnectionBounds>;
}

/** How much a client may take of the server. Times are in milliseconds. */
export interface ConnectionBounds {
  /** How long a new connection may say nothing. Default: 15,000. */
  readonly firstBytesTimeoutMs: number;
  /** How long the head of a request may take. Default: 15,000. */
  readonly headersTimeoutMs: number;
  /** How long a request may take to be whole; streams of a client are as long as they are. Default: 300,000. */
  readonly bodyTimeoutMs: number;
  /** How long an HTTP/2 connection may have no call. Default: 600,000. */
  readonly idleTimeoutMs: number;
  /**
   * How long a reader may take nothing of an answer until it is cut: what is
   * buffered for it is bounded in time too. Default: 60,000.
   */
  readonly stallTimeoutMs: number;
  /** How often to ask an HTTP/2 peer for a sign of life. Default: 30,000. */
  readonly pingIntervalMs: number;
  /** Connections at once; past it the longest silent one makes room. Default: 20,000. */
  readonly maxConnections: number;
}

const defaultBounds: ConnectionBounds = {
  firstBytesTimeoutMs: 15_000,
  headersTimeoutMs: 15_000,
  bodyTimeoutMs: 300_000,
  idleTimeoutMs: 600_000,
  stallTimeoutMs: 60_000,
  pingIntervalMs: 30_000,
  maxConnections: 20_000,
};

/** Calls that one HTTP/2 connection may have at once; clients hold further ones back. */
const maxConcurrentStreams = 2048;

/** Takes one request for a WebSocket: upgrades it, or refuses it by the exchange. */
export type UpgradeHandler = (request: UpgradeRequest, shutdown: AbortSignal) => void;

/** A server that runs. */
export interface RunningServer {
  readonly port: number;
  /**
   * Drains: says NOT_SERVING, aborts streams, takes no new connections, sends
   * GOAWAY, waits for calls to end, and cuts what is left after `graceMs`.
   */
  close(graceMs: number): Promise<void>;
}

/** Opens the port and serves. Throws UNAVAILABLE if the port is taken. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { app, logger, interceptors, upgrade } = options;
  const { ids = ownIds, maxMessageBytes = 20 * 1024 * 1024 } = options;
  const bounds = { ...defaultBounds, ...options.bounds };
  const { headersTimeoutMs, bodyTimeoutMs, idleTimeoutMs, stallTimeoutMs, pingIntervalMs } = bounds;
  const health = new HealthState(app.readiness);
  const served = [...app.services, healthService(health, app.services)];
  const ours = [...served.slice(app.services.length), ...reflectionServices(served)];
  const shutdown = new AbortController();
  setMaxListeners(0, shutdown.signal);

  const handlers: HttpHandler[] = [
    probeHandler(health),
    ...(options.routes ?? []),
    createRestHandler({
      methods: options.methods,
      maxBodyBytes: maxMessageBytes,
      shutdown: shutdown.signal,
    }),
  ];
  const fallback = async (req: HttpRequest, res: HttpResponse) => {
    const exchange = new HttpExchange(req, res, { stallTimeoutMs, ids, logger });
    // Node bounds the bodies of HTTP/1.1.
    if ("stream" in req) {
      cutLateBody(req, bodyTimeoutMs);
      endUploadAfter(req.stream);
    }
    try {
      requireHost(req);
      for (const handler of handlers) if (await handler(exchange)) return;
      throw new DevmeshError("NO_SUCH_ROUTE", `there is nothing at ${exchange.url.pathname}`);
    } catch (error) {
      exchange.fail(error);
    }
  };
  const connect = createConnectEngine({
    services: [...app.services, ...ours],
    interceptors: [drainInterceptor(shutdown.signal), ...interceptors],
    maxMessageBytes,
    stallTimeoutMs,
    bodyTimeoutMs,
    admit:
      options.authenticator === undefined
        ? async () => true
        : createAdmission(options.authenticator),
    ids,
    logger,
  });
  const handle = (req: HttpRequest, res: HttpResponse) => {
    if (applyCors(req, res, options.corsOrigins ?? [])) return;
    if (!connect(req, res)) void fallback(req, res);
  };

  const refuseConnect = (exchange: HttpExchange) => {
    const verbs = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    exchange.fail(methodNotAllowed("this server, which is no proxy,", verbs));
  };
  const refuseExpectation = (exchange: HttpExchange) =>
    exchange.fail(invalidField("Expect", "wants 100-continue"));
  const http1 = createHttp1({
    ...{ headersTimeoutMs, bodyTimeoutMs, handle, refuseConnect, refuseExpectation, ids, logger },
    upgrade: upgrade && ((request) => upgrade(request, shutdown.signal)),
  });
  // While draining, a connection is idle for good once its answer is out.
  http1.on("request", (_req, res) =>
    res.once("close", () => health.draining && setImmediate(() => http1.closeIdleConnections())),
  );
  const http2 = createHttp2Server({ settings: { maxConcurrentStreams } }, handle as never);
  // Node would throw, and end the process, for a stream that is reset by now.
  http2.on("checkContinue", (req, res) => {
    if (res.stream?.destroyed !== false) return;
    res.writeContinue();
    handle(req, res as never);
  });
  for (const [event, refuse] of [
    ["connect", refuseConnect],
    ["checkExpectation", refuseExpectation],
  ] as const) {
    http2.on(event, (req, res) => {
      refuse(new HttpExchange(req as never, res as never, { ids, logger }));
    });
  }
  const sessions = new Set<Http2Session>();
  http2.on("session", (session) => {
    sessions.add(session);
    // Keepalives of a stream are traffic: this is a connection that nobody uses.
    session.setTimeout(idleTimeoutMs, () => session.close());
    session.once("close", () => sessions.delete(session));
    endWhenSilent(session, pingIntervalMs);
    // A session's error is its peer's; calls on it end by their signals.
    session.on("error", () => session.destroy());
  });
  const grpc = createGrpcServer({
    methods: [...options.methods, ...bindMethods(ours, interceptors)],
    maxMessageBytes,
    maxConcurrentStreams,
    shutdown: shutdown.signal,
  });
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const { host, port } = options;
  const listener = await listen(
    { ...bounds, host, port },
    {
      http1: (socket) => http1.emit("connection", socket),
      http2: (socket) =>
        options.http2 === "grpc-js"
          ? injector.injectConnection(socket)
          : http2.emit("connection", socket),
    },
  );
  logger.info({ port: listener.port, host }, "listening");

  return {
    port: listener.port,
    async close(graceMs) {
      health.drain();
      shutdown.abort(new DevmeshError("DRAINING", "the server is shutting down: try again"));
      const hardStop = setTimeout(() => listener.destroy(), graceMs);
      const stopped = listener.stop();
      for (const session of sessions) session.close();
      injector.drain(graceMs);
      http1.close();
      await stopped;
      clearTimeout(hardStop);
      injector.destroy();
      grpc.forceShutdown();
    },
  };
}

/** Ends a session whose peer answers no ping for two intervals: it is gone without a word. */
function endWhenSilent(session: Http2Session, intervalMs: number): void {
  let unanswered = 0;
  const pinging = setInterval(() => {
    // A session that is being destroyed takes no ping, and may be long about it.
    if (session.destroyed) return clearInterval(pinging);
    if (unanswered === 2) return session.destroy();
    unanswered += 1;
    session.ping(() => {
      unanswered = 0;
    });
  }, intervalMs).unref();
  session.once("close", () => clearInterval(pinging));
}
