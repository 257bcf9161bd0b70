/** A server on a free port with the fake services behind it, and what it logs. */
import { anonymous, type Principal } from "@devmesh/mesh/context";
import { DevmeshError } from "@devmesh/mesh/errors";
import { createLogger } from "@devmesh/mesh/log";
import { CountedIds, SystemClock } from "@devmesh/mesh/runtime";
import {
  type BoundMethod,
  bindMethods,
  type ReadinessCheck,
  type RunningServer,
  type ServerOptions,
  serverInterceptors,
  startServer,
} from "@devmesh/mesh/server";
import { FakeServices } from "./fake-services.ts";
import { within } from "./waiting.ts";

/** Who takes HTTP/2. */
export type Engine = ServerOptions["http2"];

/** Both engines. */
export const engines: readonly Engine[] = ["grpc-js", "connect"];

/** How a bed differs from the usual. */
export interface BedOptions
  extends Partial<Pick<ServerOptions, "port" | "corsOrigins" | "maxMessageBytes" | "bounds">> {
  readonly readiness?: readonly ReadinessCheck[];
  readonly requestTimeoutMs?: number;
}

/** One line of the server's log. */
export interface LogLine {
  readonly level: string;
  readonly rpc?: string;
  readonly outcome?: string;
  readonly requestId?: string;
}

/** A running server and its surroundings. */
export interface Bed {
  readonly engine: Engine;
  readonly server: RunningServer;
  readonly port: number;
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  readonly fake: FakeServices;
  readonly methods: readonly BoundMethod[];
  /** Everything logged so far, parsed. */
  readonly lines: LogLine[];
  /** Ends it at once; also after it was closed. */
  end(): Promise<void>;
}

const trusted: Principal = {
  id: "tester",
  owner: "tester",
  scopes: new Set(["read:agents", "run:jobs", "read:jobs", "write:jobs", "llm:invoke"]),
  jobId: "",
};

/** Without a token a caller is trusted here; `weak` may nothing, and most others are unknown. */
function authenticate(header: Headers): Principal {
  const shown = header.get("authorization");
  if (shown === null) return trusted;
  if (shown === "Bearer weak") return { id: "weak", owner: "weak", scopes: new Set(), jobId: "" };
  if (shown === "Bearer nobody") return anonymous;
  throw new DevmeshError("UNAUTHENTICATED", "the token is unknown, expired or revoked");
}

/** Starts a server. */
export async function startBed(engine: Engine, options: BedOptions = {}): Promise<Bed> {
  const { readiness = [], requestTimeoutMs = 60_000, port = 0, ...rest } = options;
  const lines: LogLine[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as LogLine);
  const logger = createLogger({ service: "wire", destination: { write } });
  const fake = new FakeServices();
  const services = fake.registrations();
  const ids = new CountedIds();
  const interceptors = serverInterceptors({
    logger,
    clock: new SystemClock(),
    ids,
    authenticator: { authenticate },
    requestTimeoutMs,
  });
  const methods = bindMethods(services, interceptors);
  const server = await startServer({
    app: { services, readiness, close: async () => {} },
    methods,
    interceptors,
    authenticator: { authenticate },
    logger,
    ids,
    host: "127.0.0.1",
    port,
    http2: engine,
    ...rest,
  });
  const url = `http://127.0.0.1:${server.port}`;
  const end = () => within(server.close(0), "the end of the server");
  return { engine, server, port: server.port, url, fake, methods, lines, end };
}
