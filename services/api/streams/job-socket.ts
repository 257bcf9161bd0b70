/**
 * `WS /v1/stream/{id}?from=N`: a job's events as JSON frames
 * `{type, ts, payload}`. A browser shows its token as the subprotocol
 * `bearer.<token>` beside `devmesh.v1`, everybody else by `Authorization`.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { create } from "@bufbuild/protobuf";
import { ConnectError, createContextValues } from "@connectrpc/connect";
import {
  JobService,
  WatchJobRequestSchema,
  type WatchJobResponse,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { kPeer } from "@devmesh/mesh/context";
import { DevmeshError, toDevmeshError, toProblem } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import { type BoundMethod, peerOf, toHeaders } from "@devmesh/mesh/server";
import { type WebSocket, WebSocketServer } from "ws";
import { toFrame } from "./job-frames.ts";

/** What the socket needs. */
export interface JobSocketOptions {
  readonly methods: readonly BoundMethod[];
  readonly logger: Logger;
  /** How often to ping; a peer that answers none until the next is cut off. */
  readonly pingIntervalMs: number;
}

type Upgrade = (req: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** WebSocket close codes (RFC 6455 §7.4.1); the close reason is the error's reason. */
const closeCodes = { normal: 1000, goingAway: 1001, policy: 1008, failed: 1011 };

/** Takes `Upgrade` requests for job streams. */
export function createJobSocket({ methods, logger, pingIntervalMs }: JobSocketOptions): Upgrade {
  const watch = methods.find(({ desc }) => desc === JobService.method.watchJob);
  if (watch === undefined) throw new Error("JobService is not served");
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: 4096,
    handleProtocols: (offered) => (offered.has("devmesh.v1") ? "devmesh.v1" : false),
  });
  return (req, socket, head) => {
    const request = watchRequestOf(req.url ?? "");
    if (typeof request === "string") return refuse(socket, request);
    server.handleUpgrade(req, socket, head, (ws) => {
      const stream = new JobStream(ws, watch, req, request);
      stream.run(pingIntervalMs).catch((err: unknown) => logger.warn({ err }, "stream broke"));
    });
  };
}

/** What a watcher asks for. */
interface WatchRequest {
  readonly id: string;
  readonly from: number;
}

/** The job and the number that an address names, or the status that refuses it. */
function watchRequestOf(target: string): WatchRequest | string {
  const at = target.indexOf("?");
  const path = at === -1 ? target : target.slice(0, at);
  const id = decoded(/^\/v1\/stream\/([^/]+)$/.exec(path)?.[1] ?? "");
  if (id === "") return "404 Not Found";
  const from = new URLSearchParams(at === -1 ? "" : target.slice(at)).get("from") ?? "0";
  if (!/^\d{1,10}$/.test(from) || Number(from) > 0xffff_ffff) return "400 Bad Request";
  return { id, from: Number(from) };
}

/** The text without its escapes; empty if they are broken. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** One watcher of one job. */
class JobStream {
  readonly #ws: WebSocket;
  readonly #watch: BoundMethod;
  readonly #req: IncomingMessage;
  readonly #request: WatchRequest;
  readonly #gone = new AbortController();

  constructor(ws: WebSocket, watch: BoundMethod, req: IncomingMessage, request: WatchRequest) {
    this.#ws = ws;
    this.#watch = watch;
    this.#req = req;
    this.#request = request;
    ws.on("close", () => this.#gone.abort(new DevmeshError("CANCELLED", "the watcher went away")));
    // A broken socket closes; the close above ends the stream.
    ws.on("error", () => {});
  }

  async run(pingIntervalMs: number): Promise<void> {
    const pinging = this.#ping(pingIntervalMs);
    try {
      for await (const message of await this.#open()) {
        const frame = toFrame(message as WatchJobResponse);
        if (frame !== undefined) await this.#send(frame);
      }
      this.#ws.close(closeCodes.normal);
    } catch (error) {
      await this.#fail(error);
    } finally {
      clearInterval(pinging);
    }
  }

  async #open() {
    const header = toHeaders(this.#req);
    const offered = header.get("sec-websocket-protocol")?.split(/\s*,\s*/) ?? [];
    const bearer = offered.find((protocol) => protocol.startsWith("bearer."));
    if (bearer !== undefined) header.set("authorization", `Bearer ${bearer.slice(7)}`);
    const message = create(WatchJobRequestSchema, this.#request);
    const res = await this.#watch.stream(once(message), {
      header,
      signal: this.#gone.signal,
      timeoutMs: undefined,
      protocolName: "websocket",
      requestMethod: "GET",
      url: this.#watch.path,
      contextValues: createContextValues().set(kPeer, peerOf(this.#req, header)),
    });
    return res.message;
  }

  /** Resolves when the frame is handed to the system: a slow reader slows only itself. */
  #send(frame: object): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#ws.send(JSON.stringify(frame), (error) => (error ? reject(error) : resolve()));
    });
  }

  async #fail(error: unknown): Promise<void> {
    // Nobody is there to be told.
    if (this.#gone.signal.aborted || this.#ws.readyState !== this.#ws.OPEN) return;
    const failure = toDevmeshError(error);
    const payload = toProblem(failure, requestIdOf(error));
    await this.#send({ type: "error", ts: new Date().toISOString(), payload });
    const code = failure.reason === "DRAINING" ? closeCodes.goingAway : undefined;
    const refused = payload.status < 500 ? closeCodes.policy : closeCodes.failed;
    this.#ws.close(code ?? refused, failure.reason);
  }

  /** A peer that does not answer a ping until the next one is gone. */
  #ping(intervalMs: number): NodeJS.Timeout {
    let answered = true;
    this.#ws.on("pong", () => {
      answered = true;
    });
    return setInterval(() => {
      if (!answered) return this.#ws.terminate();
      answered = false;
      this.#ws.ping();
      const heartbeat = { type: "heartbeat", ts: new Date().toISOString(), payload: {} };
      this.#ws.send(JSON.stringify(heartbeat));
    }, intervalMs);
  }
}

function requestIdOf(error: unknown): string {
  return error instanceof ConnectError ? (error.metadata.get("x-request-id") ?? "") : "";
}

async function* once<T>(message: T) {
  yield message;
}

function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
