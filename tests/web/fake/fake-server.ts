/** A fake backend for the console: the contract in memory, the built page, and a plug to pull. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { DevmeshError, toConnectError } from "@devmesh/mesh/errors";
import { FakeJobs } from "./fake-jobs.ts";
import { createFakeRoutes } from "./fake-routes.ts";
import { FakeStream } from "./fake-stream.ts";

/** One row of the fake's audit log. */
export interface FakeAuditRow {
  readonly action: string;
  readonly resource: string;
  readonly outcome: string;
}

const mediaTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

// As the real one: what breaks under it must break here.
const policy =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'";

/** What of an answer is the same in HTTP/1.1 and HTTP/2. */
interface PageResponse {
  writeHead(status: number, headers: Record<string, string>): unknown;
  end(data: string | Uint8Array): unknown;
}

/** How a fake is made. */
export interface FakeServerOptions {
  /** The folder with the built console. */
  readonly folder: string;
  /** True: calls need the secret. Default: false, as with the dev bypass. */
  readonly needsToken?: boolean;
}

/** A backend that can be stopped and started again on the same port, with its data. */
export class FakeServer {
  readonly jobs = new FakeJobs();
  readonly blobs = new Map<string, Uint8Array>();
  readonly audit: FakeAuditRow[] = [];
  readonly links = new Set<string>();
  readonly features: Record<string, boolean> = {
    localLLMPreferred: true,
    enableCloudFallback: true,
  };
  /** The policy modes that were asked for. */
  readonly asked: string[] = [];
  readonly secret = "dm_test_secret";
  readonly startedAtMs = Date.now();
  readonly stream: FakeStream;
  readonly #folder: string;
  readonly #needsToken: boolean;
  #server: Server | undefined;
  #port = 0;

  constructor(options: FakeServerOptions) {
    this.#folder = options.folder;
    this.#needsToken = options.needsToken ?? false;
    this.stream = new FakeStream(this.jobs, (secret) => this.#isAllowed(secret));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const api = connectNodeAdapter({
      routes: createFakeRoutes(this),
      interceptors: [this.#createGuard()],
      fallback: (request, response) => this.#page(request.url, response),
    });
    const server = createServer(api);
    server.on("upgrade", (request, socket, head) => this.stream.upgrade(request, socket, head));
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Pulls the plug: every connection breaks, the port refuses. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, "close");
    server.close();
    this.stream.cut();
    server.closeAllConnections();
    await closed;
  }

  /** Stores a blob and answers the artifact that names it. */
  artifact(name: string, text: string) {
    const data = new TextEncoder().encode(text);
    const sha256 = createHash("sha256").update(data).digest("hex");
    this.blobs.set(sha256, data);
    return { name, sha256, sizeBytes: BigInt(data.length), mediaType: "text/plain" };
  }

  #isAllowed(secret: string | undefined): boolean {
    return !this.#needsToken || secret === this.secret;
  }

  #createGuard(): Interceptor {
    return (next) => async (request) => {
      try {
        const secret = /^Bearer (.+)$/.exec(request.header.get("authorization") ?? "")?.[1];
        if (request.method.name !== "RedeemConsoleLink" && !this.#isAllowed(secret)) {
          throw new DevmeshError("UNAUTHENTICATED", "the token is not known");
        }
        return await next(request);
      } catch (error: unknown) {
        throw toConnectError(error);
      }
    };
  }

  #page(url: string | undefined, response: PageResponse): void {
    const { pathname } = new URL(url ?? "/", "http://fake");
    const named = join(this.#folder, pathname === "/" ? "index.html" : pathname);
    const isFile = extname(named) !== "" && existsSync(named);
    if (!isFile && extname(pathname) !== "") {
      response.writeHead(404, {});
      response.end("");
      return;
    }
    const path = isFile ? named : join(this.#folder, "index.html");
    const headers = {
      "content-type": mediaTypes[extname(path)] ?? "application/octet-stream",
      "content-security-policy": policy,
    };
    response.writeHead(200, headers);
    response.end(readFileSync(path));
  }
}
