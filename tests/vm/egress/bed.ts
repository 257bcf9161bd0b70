/** What tests of the egress proxy share: a proxy with a policy, hosts behind it, and raw and real clients. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import {
  createServer as createHttp,
  type IncomingMessage,
  type RequestOptions,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, connect, createServer as createTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { NetworkPolicySchema } from "@devmesh/gen/devmesh/api/v1/network_policy_pb";
import { SystemClock } from "@devmesh/mesh/runtime";
import {
  type Egress,
  type EgressHostOptions,
  openEgress,
} from "../../../services/vm/egress/egress.ts";
import type { ProxyDecision } from "../../../services/vm/egress/egress-proxy.ts";
import type { CountedDecision } from "../../../services/vm/egress/egress-recorder.ts";
import { JobAuthority } from "../../../services/vm/egress/job-authority.ts";

/** A policy as JSON has it. */
export type PolicyInput = MessageInitShape<typeof NetworkPolicySchema>;

/** A host behind the proxy, on this machine's loopback. */
export interface TestHost {
  readonly port: number;
  readonly seen: {
    method: string;
    url: string;
    headers: IncomingMessage["headers"];
    body: string;
  }[];
  /** Names that TLS clients asked for. */
  readonly names: string[];
  readonly connections: Set<Socket>;
  /** How it answers. Default: 200 and `hello`. */
  onRequest: (req: IncomingMessage, res: ServerResponse, body: string) => void;
  readonly peers: string[];
}

/** Everything one test opens; closed together. */
export class EgressBed {
  readonly #closers: (() => unknown)[] = [];
  readonly #folder: string;
  readonly #authority: JobAuthority;
  /** Names and addresses; a list of lists answers one after the other. */
  readonly names = new Map<string, string[]>();
  readonly asked: string[] = [];
  readonly decisions: CountedDecision[] = [];
  readonly notes: string[] = [];

  private constructor(folder: string, authority: JobAuthority) {
    this.#folder = folder;
    this.#authority = authority;
  }

  static async open(): Promise<EgressBed> {
    const folder = await mkdtemp(join(tmpdir(), "dm-test-"));
    return new EgressBed(folder, await JobAuthority.create("test hosts", Date.now()));
  }

  get folder(): string {
    return this.#folder;
  }

  /** The authority that hosts have their certificates from, PEM. */
  get ca(): string {
    return this.#authority.certificate;
  }

  /** A host that speaks HTTPS as `name`, which resolves to it. */
  async tlsHost(name: string): Promise<TestHost> {
    this.names.set(name, ["127.0.0.1"]);
    const names: string[] = [];
    const server = createHttps({
      SNICallback: (asked, done) => {
        names.push(asked);
        done(null, this.#authority.contextFor(name));
      },
    });
    return this.#listen(server as unknown as Server, names);
  }

  /** A host that speaks plain HTTP. */
  async plainHost(name: string): Promise<TestHost> {
    this.names.set(name, ["127.0.0.1"]);
    return this.#listen(createHttp(), []);
  }

  /** A proxy. Loopback is open unless `host` says otherwise. */
  async proxy(policy: PolicyInput, host: EgressHostOptions = {}): Promise<Egress> {
    const caFile = join(this.#folder, "hosts-ca.pem");
    await writeFile(caFile, this.ca);
    const egress = await openEgress({
      host: {
        allowPrivate: ["127.0.0.0/8"],
        caFile,
        resolve: async (name) => {
          this.asked.push(name);
          const found = this.names.get(name);
          if (found === undefined) throw new Error("no such name");
          return [...found];
        },
        ...host,
      },
      policy: create(NetworkPolicySchema, policy),
      jobId: "job_test",
      folder: this.#folder,
      clock: new SystemClock(),
      report: async (_number, decisions) => void this.decisions.push(...decisions),
      note: ({ message }) => void this.notes.push(message),
    });
    let isClosed = false;
    const close = async () => {
      if (isClosed) return;
      isClosed = true;
      await egress.close();
    };
    this.#closers.push(close);
    return { ...egress, close };
  }

  /** A TCP port that leads to a Unix socket, as a sandbox's own loopback has it. */
  async tcpTo(socketPath: string): Promise<number> {
    const sockets = new Set<Socket>();
    const server = createTcp((outer) => {
      const inner = connect(socketPath);
      for (const socket of [outer, inner]) {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          outer.destroySoon();
          inner.destroySoon();
        });
      }
      outer.pipe(inner).pipe(outer);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.#closers.push(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    });
    return (server.address() as AddressInfo).port;
  }

  /** Closes the proxy, so that every decision is told, and answers them. */
  async decided(
    egress: Egress,
  ): Promise<Pick<ProxyDecision, "host" | "reason" | "method" | "path">[]> {
    await egress.close();
    return this.decisions.map(({ host = "", reason = "", method = "", path = "" }) => ({
      ...{ host, method, path },
      reason: reason as ProxyDecision["reason"],
    }));
  }

  async close(): Promise<void> {
    for (const close of this.#closers.toReversed()) await close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #listen(server: Server, names: string[]): Promise<TestHost> {
    const connections = new Set<Socket>();
    const host: TestHost = {
      ...{ port: 0, seen: [], names, connections, peers: [] },
      onRequest: (_req, res) => res.end("hello"),
    };
    server.on("connection", (socket) => {
      connections.add(socket);
      host.peers.push(socket.remoteAddress ?? "");
      socket.on("error", () => {});
    });
    server.on("tlsClientError", () => {});
    server.on("request", (req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => chunks.push(chunk));
      req.on("error", () => {});
      req.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        const { method = "", url = "", headers } = req;
        host.seen.push({ method, url, headers, body });
        host.onRequest(req, res, body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.#closers.push(() => {
      for (const socket of connections) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    });
    return Object.assign(host, { port: (server.address() as AddressInfo).port });
  }
}

/** Sends bytes and reads until the other side ends. */
export function sendRaw(socketPath: string, text: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.once("end", () => socket.end());
    socket.once("close", () => resolve(Buffer.concat(chunks).toString("latin1")));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE" || error.code === "ECONNRESET") return;
      reject(error);
    });
    socket.write(text);
  });
}

/** Asks for a tunnel; answers the status and the socket behind it. */
export function tunnel(
  socketPath: string,
  authority: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; why: string; socket: Socket }> {
  return new Promise((resolve, reject) => {
    const asked = request({
      socketPath,
      method: "CONNECT",
      path: authority,
      headers: { host: authority, ...headers },
    });
    asked.once("connect", (res, socket) => {
      socket.on("error", () => {});
      const why = String(res.headers["x-devmesh-egress"] ?? "");
      resolve({ status: res.statusCode ?? 0, why, socket });
    });
    asked.once("error", reject);
    asked.end();
  });
}

/** TLS over a tunnel's socket. */
export function secure(
  socket: Duplex,
  servername: string,
  ca: string | string[],
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const tls = connectTls({ socket, servername, ca, ALPNProtocols: ["http/1.1"] });
    tls.once("secureConnect", () => resolve(tls));
    tls.once("error", reject);
    tls.once("close", () => reject(new Error("closed")));
  });
}

/** What a request got. */
export interface Got {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly why: string;
}

/** One request over a connection that is there, or to the proxy itself. */
export function ask(options: RequestOptions, body?: string): Promise<Got> {
  return new Promise((resolve, reject) => {
    const own = options.createConnection === undefined ? { agent: false } : {};
    const req = request({ ...options, ...own }, (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.once("error", reject);
      res.once("end", () => {
        const { statusCode = 0, headers } = res;
        const why = String(headers["x-devmesh-egress"] ?? "");
        resolve({ status: statusCode, headers, body: Buffer.concat(chunks).toString(), why });
      });
    });
    req.once("error", reject);
    req.end(body);
  });
}

/** A request through a TLS tunnel. */
export async function askTls(
  egress: Egress,
  ca: string | string[],
  url: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Got> {
  const { hostname, port, pathname, search } = new URL(url);
  const authority = `${hostname}:${port || 443}`;
  const { status, why, socket } = await tunnel(egress.door.socketPath, authority);
  if (status !== 200) {
    socket.destroy();
    return { status, why, headers: {}, body: "" };
  }
  const tls = await secure(socket, hostname, ca);
  try {
    const { method = "GET", headers = {}, body } = options;
    return await ask(
      {
        createConnection: () => tls,
        method,
        path: pathname + search,
        headers: { host: authority, ...headers },
      },
      body,
    );
  } finally {
    tls.destroy();
  }
}
