/** The fake server's composition: its parts, its faults, and its doors. */
import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { createServer, type Socket } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Document } from "@devmesh/gen/devmesh/mcp/v1/document_pb";
import { FakeBlobs } from "./fake-blobs.ts";
import { createFakeInterceptor } from "./fake-interceptors.ts";
import { FakeJobs } from "./fake-jobs.ts";
import { createPlay } from "./fake-programs.ts";
import { FakeQueue } from "./fake-queue.ts";
import { createFakeRoutes } from "./fake-routes.ts";
import { FakeTokens } from "./fake-tokens.ts";

/** Every scope there is. */
export const allScopes = [
  "read:jobs",
  "write:jobs",
  "write:queue",
  "read:agents",
  "write:agents",
  "read:audit",
  "read:system",
  "read:self",
  "read:tokens",
  "write:tokens",
  "context:read",
  "context:write",
  "llm:invoke",
];

/** The owner's secret on every fake server. */
export const ownerSecret = "owner-secret";

/** What goes wrong, and when. */
export class Faults {
  /** Jobs that are accepted without an answer. */
  loseAnswers = 0;
  /** Events after which a watch breaks off with DRAINING, once. */
  cutWatchAfter: number | undefined;
  /** Events after which a watch ends as if all were well, once. */
  endWatchAfter: number | undefined;
  /** A number that is left out. */
  dropSeq: number | undefined;
  /** A number that is sent twice. */
  doubleSeq: number | undefined;
  /** `from` of every watch so far. */
  readonly watches: number[] = [];
  readonly #strikes: { readonly method: string; readonly error: Error }[] = [];
  readonly #silent = new Set<string>();

  /** The next call of a method fails so. */
  failNext(method: string, error: Error): void {
    this.#strikes.push({ method, error });
  }

  /** Calls of a method get no answer until they are given up. */
  silence(method: string): void {
    this.#silent.add(method);
  }

  /** Asked at the start of each call. */
  async strike(method: string, signal: AbortSignal): Promise<void> {
    if (this.#silent.has(method)) {
      await once(signal, "abort");
      signal.throwIfAborted();
    }
    const at = this.#strikes.findIndex((strike) => strike.method === method);
    const [strike] = at < 0 ? [] : this.#strikes.splice(at, 1);
    if (strike !== undefined) throw strike.error;
  }
}

/** A devmesh server in memory. */
export class FakeDevmesh {
  readonly blobs = new FakeBlobs();
  readonly tokens = new FakeTokens();
  readonly jobs = new FakeJobs({ play: createPlay(this.blobs), blobs: this.blobs });
  readonly queue = new FakeQueue({ jobs: this.jobs });
  readonly documents = new Map<string, Document>();
  readonly faults = new Faults();
  /** Every call so far. */
  readonly log: { readonly method: string; readonly header: Headers }[] = [];
  calls = 0;
  parts: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[] = [
    { name: "storage", ok: true, detail: "sqlite" },
    { name: "mcp", ok: true, detail: "ready" },
  ];
  readonly #sockets = new Set<Socket>();

  constructor() {
    this.tokens.seed(ownerSecret, allScopes);
  }

  /** What `createRouterTransport` and `connectNodeAdapter` take. */
  get routes(): (router: ConnectRouter) => void {
    return createFakeRoutes(this);
  }

  /** The rules on every call. */
  get interceptors() {
    return [createFakeInterceptor(this)];
  }

  /** Breaks every connection at once, as a pulled cable does. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Listens with HTTP/1.1 and HTTP/2 on one port or Unix socket. */
  async listen(where: number | string = 0): Promise<{ url: string; close(): Promise<void> }> {
    const options = { routes: this.routes, interceptors: this.interceptors };
    const handler = connectNodeAdapter(options);
    const http1 = createHttp1(handler);
    const http2 = createHttp2(handler);
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#sockets.delete(socket));
      socket.once("data", (first: Buffer) => {
        socket.pause();
        socket.unshift(first);
        if (first.subarray(0, 3).toString() === "PRI") {
          http2.emit("connection", socket);
        } else {
          http1.emit("connection", socket);
          socket.resume();
        }
      });
    });
    if (typeof where === "string") server.listen(where);
    else server.listen(where, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    return {
      url: port === undefined ? `unix:${where}` : `http://127.0.0.1:${port}`,
      close: async () => {
        const closed = once(server, "close");
        server.close();
        this.dropConnections();
        await closed;
      },
    };
  }
}
