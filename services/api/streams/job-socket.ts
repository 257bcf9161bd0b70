/**
 * `WS /v1/stream/{id}?from=N`: a job's events as JSON frames
 * `{type, ts, payload}`. A browser shows its token as the subprotocol
 * `bearer.<token>` beside `devmesh.v1`, everybody else by `Authorization`. Who
 * is refused gets the status and the problem of any other call, and no upgrade.
 */
import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import {
  JobService,
  WatchJobRequestSchema,
  type WatchJobResponse,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { DevmeshError, toDevmeshError, toProblem } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import {
  type BoundMethod,
  callOf,
  type HttpExchange,
  type UpgradeHandler,
} from "@devmesh/mesh/server";
import { type WebSocket, WebSocketServer } from "ws";
import { tooSlow } from "../jobs/job-watch.ts";
import { encodeFrame } from "./job-frames.ts";
import { protocolsOf, type WatchRequest, watchRequestOf } from "./socket-request.ts";

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
  return (asked, shutdown) => {
    const { exchange, socket, head } = asked;
    const gone = new AbortController();
    exchange.signal.addEventListener("abort", () => gone.abort(exchange.signal.reason));
    const open = async () => {
      const request = watchRequestOf(exchange);
      const signal = AbortSignal.any([gone.signal, shutdown]);
      const messages = await openWatch(watch, exchange, request, signal);
      // The first message comes before the upgrade, so that a refusal has its status.
      return { request, messages, first: await messages.next() };
    };
    const upgrade = ({ request, messages, first }: OpenWatch) => {
      if (gone.signal.aborted) return void messages.return?.();
      server.handleUpgrade(asked.take(), socket, head, (ws) => {
        const stream = new JobStream({ ws, request, gone, slowReaderMs, logger });
        stream
          .run(first, messages, pingIntervalMs)
          .catch((err: unknown) => logger.warn({ err }, "stream broke"));
      });
    };
    open().then(upgrade, (error: unknown) => exchange.fail(error));
  };
}

/** A watch whose first message is there. */
interface OpenWatch {
  readonly request: WatchRequest;
  readonly messages: AsyncIterator<WatchJobResponse>;
  readonly first: IteratorResult<WatchJobResponse>;
}

async function openWatch(
  watch: BoundMethod,
  exchange: HttpExchange,
  request: WatchRequest,
  signal: AbortSignal,
): Promise<AsyncIterator<WatchJobResponse>> {
  const header = new Headers(exchange.headers);
  const bearer = protocolsOf(header).find((protocol) => protocol.startsWith("bearer."));
  if (bearer !== undefined) header.set("authorization", `Bearer ${bearer.slice(7)}`);
  const init = { ...callOf(exchange, "websocket"), header, signal, url: watch.path };
  const res = await watch.stream(once(create(WatchJobRequestSchema, request)), init);
  return (res.message as AsyncIterable<WatchJobResponse>)[Symbol.asyncIterator]();
}

/** What one watcher consists of. */
interface JobStreamOptions {
  readonly ws: WebSocket;
  readonly request: WatchRequest;
  /** Ends the watch when the watcher is gone. */
  readonly gone: AbortController;
  readonly slowReaderMs: number;
  readonly logger: Logger;
}

/** One watcher of one job. */
class JobStream {
  readonly #ws: WebSocket;
  readonly #request: WatchRequest;
  readonly #slowReaderMs: number;
  readonly #logger: Logger;
  readonly #gone: AbortController;
  /** The number that a watcher which comes back asks for. */
  #next: number;
  /** Frames that the system has not taken yet. */
  #underWay = 0;
  /** Tells who waits for them; of a socket that broke nobody may wait: its close ends the stream. */
  #settle: ((error?: Error | null) => void) | undefined;
  readonly #onSent = (error?: Error | null) => {
    this.#underWay -= 1;
    if (this.#underWay === 0 || error) this.#settle?.(error);
  };

  constructor(options: JobStreamOptions) {
    const { ws, request, gone } = options;
    this.#ws = ws;
    this.#request = request;
    this.#gone = gone;
    this.#slowReaderMs = options.slowReaderMs;
    this.#logger = options.logger;
    this.#next = Math.max(1, request.from);
    ws.on("close", () => gone.abort(new DevmeshError("CANCELLED", "the watcher went away")));
    // A broken socket closes; the close above ends the stream.
    ws.on("error", () => {});
  }

  /** Sends what a watch says from its first message on, and ends the watch. */
  async run(
    first: IteratorResult<WatchJobResponse>,
    messages: AsyncIterator<WatchJobResponse>,
    pingIntervalMs: number,
  ): Promise<void> {
    const pinging = this.#ping(pingIntervalMs);
    try {
      for (let next = first; next.done !== true; next = await messages.next()) {
        const frame = encodeFrame(next.value);
        if (frame === undefined) continue;
        this.#send(frame.bytes);
        this.#next = frame.seq + 1;
        if (this.#ws.bufferedAmount > 0) await this.#taken();
      }
      this.#close(closeCodes.normal, "");
    } catch (error) {
      await this.#fail(error);
    } finally {
      clearInterval(pinging);
      await messages.return?.();
    }
  }

  /** Sends a frame of JSON text. */
  #send(frame: Buffer | string): void {
    this.#underWay += 1;
    this.#ws.send(frame, { binary: false }, this.#onSent);
  }

  /** All that was sent is handed to the system. A slow reader slows only itself, and that not for ever. */
  async #taken(): Promise<void> {
    const taken = new AbortController();
    const late = delay(this.#slowReaderMs, "late" as const, { signal: taken.signal });
    // The wait that lost the race ends by the abort below.
    late.catch(() => {});
    const sent = new Promise<void>((resolve, reject) => {
      this.#settle = (error) => (error ? reject(error) : resolve());
    });
    // It may break when it was shed already.
    sent.catch(() => {});
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
    this.#send(JSON.stringify({ type: "error", ts: new Date().toISOString(), payload }));
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
