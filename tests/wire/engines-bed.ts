/** A real listener on a free port in front of small fake services, and ways to call it. */
import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import {
  createClient,
  type HandlerContext,
  type ServiceImpl,
  type Transport,
} from "@connectrpc/connect";
import {
  createGrpcTransport as createConnectGrpcTransport,
  createConnectTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import { createLogger } from "@devmesh/mesh/log";
import { SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import {
  type App,
  type BoundMethod,
  type RunningServer,
  type ServerOptions,
  serve,
  servePrivately,
  startServer,
} from "@devmesh/mesh/server";
import { createGrpcTransport } from "@devmesh/mesh/transport";

/** What compresses well fills no buffer: this does not. */
const noise = randomBytes(64 * 1024);

/** The secret that every call of the tests shows. */
export const secret = "the-secret-of-the-tests";
export const authorization = `Bearer ${secret}`;

/** A line of the log. */
export interface LogLine {
  readonly level: string;
  readonly rpc?: string;
  readonly outcome?: string;
}

/** Fake services that tell what happens to them: `called`, `aborted` (with the reason), `closed`. */
export class FakeServices extends EventEmitter {
  /** Messages that `flood` has made so far. */
  made = 0;
  /** What `timeoutMs()` said in the last call. */
  timeoutMs: number | undefined;
  ready = true;

  /** The services as an app. */
  app(): App {
    const jobs: Partial<ServiceImpl<typeof JobService>> = {
      watchJob: ({ id }, context) => this.#watch(id, context),
    };
    const blobs: Partial<ServiceImpl<typeof BlobService>> = {
      putBlob: async (pieces, context) => {
        this.#enter(context);
        let size = 0n;
        for await (const { data } of pieces) size += BigInt(data.length);
        return { sizeBytes: size };
      },
    };
    return {
      services: [
        serve(SandboxService, this.#sandboxes()),
        serve(JobService, jobs as ServiceImpl<typeof JobService>),
        serve(BlobService, blobs as ServiceImpl<typeof BlobService>),
      ],
      readiness: [
        {
          name: "storage",
          check: async () => {
            if (this.ready) return "fine";
            throw new DevmeshError("UNAVAILABLE", "the disk is gone");
          },
        },
      ],
      close: async () => {},
    };
  }

  #sandboxes(): ServiceImpl<typeof SandboxService> {
    return {
      probeHost: async ({ refresh }, context) => {
        this.#enter(context);
        this.timeoutMs = context.timeoutMs();
        // `refresh` waits: until the test lets it go on, or the caller leaves.
        if (refresh) await Promise.race([once(this, "release"), aborted(context.signal)]);
        return { host: "here" };
      },
      listSandboxes: () => ({ sandboxes: [{ id: "sbx_1", driver: "fake" }] }),
      deleteSandbox({ id }) {
        if (id === "broken") throw new Error("the driver says hunter2");
        if (id === "busy") {
          throw new DevmeshError("RATE_LIMITED", "too many", { retryAfterMs: 1_500 });
        }
        if (id !== "sbx_1") throw notFound("sandbox", id);
        return {};
      },
    };
  }

  async *#watch(id: string, context: HandlerContext) {
    this.#enter(context);
    const size = id === "flood" ? 64 * 1024 : 1;
    const count = id === "flood" ? 100_000 : 3;
    try {
      for (let seq = 1; seq <= count; seq++) {
        const data = noise.subarray(0, size);
        const kind = { case: "log", value: { data } } as const;
        this.made += 1;
        yield { step: { case: "event", value: { seq, kind } } } as const;
        if (id === "breaks") throw new DevmeshError("WRONG_STATE", "it breaks here");
        if (id === "fails") throw new Error("the driver says hunter2");
        if (id === "endless") await aborted(context.signal);
      }
    } finally {
      this.emit("closed");
    }
  }

  #enter({ signal }: HandlerContext): void {
    signal.addEventListener("abort", () => this.emit("aborted", signal.reason));
    this.emit("called");
  }
}

/** Rejects with the signal's reason. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** A server that runs, and what it is made of. */
export interface Bed {
  readonly fakes: FakeServices;
  readonly server: RunningServer;
  readonly methods: readonly BoundMethod[];
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  readonly lines: LogLine[];
  close(): Promise<void>;
}

export type EngineName = ServerOptions["http2"];
export const engines: readonly EngineName[] = ["grpc-js", "connect"];

/** Starts the fakes behind an engine. */
export async function startBed(
  http2: EngineName,
  options: Partial<ServerOptions> = {},
): Promise<Bed> {
  const fakes = new FakeServices();
  const lines: LogLine[] = [];
  const write = (text: string) => void lines.push(JSON.parse(text));
  const logger = createLogger({ service: "test", level: "debug", destination: { write } });
  const clock = new SystemClock();
  const served = servePrivately(fakes.app(), {
    logger,
    clock,
    ids: new SortableIds(clock),
    serviceToken: secret,
    requestTimeoutMs: 60_000,
  });
  const base = { logger, host: "127.0.0.1", port: 0, http2 };
  const server = await startServer({ ...served, ...base, ...options });
  const url = `http://127.0.0.1:${server.port}`;
  return { fakes, server, methods: served.methods, url, lines, close: () => server.close(0) };
}

/** A client's way to a server; `close` ends its connections. */
export interface WayIn {
  readonly name: string;
  /** Which engines' HTTP/2 it needs; absent: any. */
  readonly only?: EngineName;
  open(url: string): { transport: Transport; close(): void };
}

const bearer = (next: (req: never) => never) => (req: { header: Headers }) => {
  req.header.set("authorization", authorization);
  return next(req as never);
};
const interceptors = [bearer as never];
const open = (transport: Transport) => ({ transport, close: () => {} });

/** Every client that devmesh promises to answer. */
export const waysIn: readonly WayIn[] = [
  {
    name: "our gRPC transport",
    open(url) {
      const transport = createGrpcTransport({ target: new URL(url).host, interceptors });
      return { transport, close: () => transport.close() };
    },
  },
  {
    name: "connect-node, gRPC",
    open: (baseUrl) => open(createConnectGrpcTransport({ baseUrl, interceptors })),
  },
  {
    name: "connect-node, Connect over HTTP/1.1",
    open: (baseUrl) => open(createConnectTransport({ baseUrl, interceptors, httpVersion: "1.1" })),
  },
  {
    name: "connect-node, gRPC-Web over HTTP/1.1",
    open: (baseUrl) => open(createGrpcWebTransport({ baseUrl, interceptors, httpVersion: "1.1" })),
  },
  {
    name: "connect-node, Connect over HTTP/2",
    only: "connect",
    open: (baseUrl) => open(createConnectTransport({ baseUrl, interceptors, httpVersion: "2" })),
  },
  {
    name: "connect-node, gRPC-Web over HTTP/2",
    only: "connect",
    open: (baseUrl) => open(createGrpcWebTransport({ baseUrl, interceptors, httpVersion: "2" })),
  },
];

/** Typed clients on a transport. */
export function clientsOf(transport: Transport) {
  return {
    sandboxes: createClient(SandboxService, transport),
    jobs: createClient(JobService, transport),
    blobs: createClient(BlobService, transport),
  };
}

/** What a promise was rejected with; fails where it was not. */
export async function failureOf(result: Promise<unknown>): Promise<unknown> {
  try {
    await result;
  } catch (error) {
    return error;
  }
  throw new Error("it succeeded");
}

/** Reads a stream to its end. */
export async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}
