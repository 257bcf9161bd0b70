/**
 * `WS /v1/stream/{id}?from=N`: a job's events as JSON frames
 * `{type, ts, payload}`. A browser shows its token as the subprotocol
 * `bearer.<token>` beside `devmesh.v1`, everybody else by `Authorization`.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
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
import { type BoundMethod, peerOf, toHeaders, type UpgradeHandler } from "@devmesh/mesh/server";
import { type WebSocket, WebSocketServer } from "ws";
import { tooSlow } from "../jobs/job-watch.ts";
import { encodeFrame } from "./job-frames.ts";

/** What the socket needs. */
export interface JobSocketOptions {
  readonly methods: readonly BoundMethod[];
  readonly logger: Logger;
  /** How often to ping; a peer that answers none until the next is cut off. */
  readonly pingIntervalMs: number;
  /** How long a watcher may take nothing until it is shed, in milliseconds. Default: 30,000. */
  readonly slowReaderMs?: number;
}

/**
 * WebSocket close codes (RFC 6455 §7.4.1, and 1013 of its registry). The close
 * reason is the error's reason, or `resume from N` where the watcher shall come back.
 */
const closeCodes = { normal: 1000, goingAway: 1001, policy: 1008, failed: 1011, tryLater: 1013 };

/** How long a peer may take to answer a close, in milliseconds. */
const closeWithinMs = 5_000;

/** Takes `Upgrade` requests for job streams. */
export function createJobSocket(options: JobSocketOptions): UpgradeHandler {
  const { methods, logger, pingIntervalMs, slowReaderMs = 30_000 } = options;
  const watch = methods.find(({ desc }) => desc === JobService.method.watchJob);
  if (watch === undefined) throw new Error("JobService is not served");
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: 4096,
    handleProtocols: (offered) => (offered.has("devmesh.v1") ? "devmesh.v1" : false),
  });
  return (req, socket, head, shutdown) => {
    const request = watchRequestOf(req.url ?? "");
    if (typeof request === "string") return refuse(socket, request);
    server.handleUpgrade(req, socket, head, (ws) => {
      const stream = new JobStream({ ws, watch, req, request, shutdown, slowReaderMs, logger });
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

/** What one watcher consists of. */
interface JobStreamOptions {
  readonly ws: WebSocket;
  readonly watch: BoundMethod;
  readonly req: IncomingMessage;
  readonly request: WatchRequest;
  /** Aborts when the server stops. */
  readonly shutdown: AbortSignal;
  readonly slowReaderMs: number;
  readonly logger: Logger;
}

/** One watcher of one job. */
class JobStream {
  readonly #ws: WebSocket;
  readonly #watch: BoundMethod;
  readonly #req: IncomingMessage;
  readonly #request: WatchRequest;
  readonly #shutdown: AbortSignal;
  readonly #slowReaderMs: number;
  readonly #logger: Logger;
  readonly #gone = new AbortController();
  /** The number that a watcher which comes back asks for. */
  #next: number;

  constructor(options: JobStreamOptions) {
    const { ws, request } = options;
    this.#ws = ws;
    this.#watch = options.watch;
    this.#req = options.req;
    this.#request = request;
    this.#shutdown = options.shutdown;
    this.#slowReaderMs = options.slowReaderMs;
    this.#logger = options.logger;
    this.#next = Math.max(1, request.from);
    ws.on("close", () => this.#gone.abort(new DevmeshError("CANCELLED", "the watcher went away")));
    // A broken socket closes; the close above ends the stream.
    ws.on("error", () => {});
  }

  async run(pingIntervalMs: number): Promise<void> {
    const pinging = this.#ping(pingIntervalMs);
    try {
      for await (const message of await this.#open()) {
        const frame = encodeFrame(message as WatchJobResponse);
        if (frame === undefined) continue;
        const sent = this.#send(frame.bytes);
        this.#next = frame.seq + 1;
        if (this.#ws.bufferedAmount > 0) await this.#taken(sent);
      }
      this.#close(closeCodes.normal, "");
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
      signal: AbortSignal.any([this.#gone.signal, this.#shutdown]),
      timeoutMs: undefined,
      protocolName: "websocket",
      requestMethod: "GET",
      url: this.#watch.path,
      contextValues: createContextValues().set(kPeer, peerOf(this.#req, header)),
    });
    return res.message;
  }

  /** Resolves when the frame, JSON text, is handed to the system. */
  #send(frame: Buffer | string): Promise<void> {
    const sent = new Promise<void>((resolve, reject) => {
      this.#ws.send(frame, { binary: false }, (error) => (error ? reject(error) : resolve()));
    });
    // Of a socket that broke: its close ends the stream.
    sent.catch(() => {});
    return sent;
  }

  /** A slow reader slows only itself, and that not for ever. */
  async #taken(sent: Promise<void>): Promise<void> {
    const taken = new AbortController();
    const late = delay(this.#slowReaderMs, "late" as const, { signal: taken.signal });
    // The wait that lost the race ends by the abort below.
    late.catch(() => {});
    const how = await Promise.race([sent, late]).finally(() => taken.abort());
    if (how !== "late") return;
    this.#logger.info({ jobId: this.#request.id, resumeFrom: this.#next }, "slow watcher shed");
    throw tooSlow(this.#slowReaderMs, this.#next);
  }

  async #fail(error: unknown): Promise<void> {
    // Nobody is there to be told.
    if (this.#gone.signal.aborted || this.#ws.readyState !== this.#ws.OPEN) return;
    const failure = toDevmeshError(error);
    const problem = toProblem(failure, requestIdOf(error));
    const resumes = failure.reason === "DRAINING" || failure.metadata.resume_from !== undefined;
    const metadata = { ...problem.metadata, resume_from: String(this.#next) };
    const payload = resumes ? { ...problem, metadata } : problem;
    // Both lie behind what the reader has not taken yet: it gets them in order, or is cut.
    void this.#send(JSON.stringify({ type: "error", ts: new Date().toISOString(), payload }));
    if (resumes) {
      const code = failure.reason === "DRAINING" ? closeCodes.goingAway : closeCodes.tryLater;
      this.#close(code, `resume from ${this.#next}`);
    } else {
      const code = problem.status < 500 ? closeCodes.policy : closeCodes.failed;
      this.#close(code, failure.reason);
    }
  }

  #close(code: number, reason: string): void {
    this.#ws.close(code, reason);
    const late = setTimeout(() => this.#ws.terminate(), closeWithinMs).unref();
    this.#ws.once("close", () => clearTimeout(late));
  }

  /**
   * A peer that does not answer a ping until the next one is gone. One that has
   * not taken what was sent before the ping cannot have seen it: it is slow.
   */
  #ping(intervalMs: number): NodeJS.Timeout {
    let answered = true;
    this.#ws.on("pong", () => {
      answered = true;
    });
    return setInterval(() => {
      if (this.#ws.bufferedAmount > 0) return;
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
