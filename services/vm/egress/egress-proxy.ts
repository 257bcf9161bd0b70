/**
 * The proxy of one sandbox: a Unix socket that speaks HTTP/1.1, behind which
 * every request is judged by the job's policy. Connections to the outside are
 * left to `upstreams.ts`, requests on their way to `forward-request.ts`.
 */
import {
  type Agent,
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { type Duplex, duplexPair } from "node:stream";
import { TLSSocket } from "node:tls";
import { problemType } from "@devmesh/mesh/errors";
import type { DestinationRules, EgressPolicy } from "./egress-policy.ts";
import { forwardRequest } from "./forward-request.ts";
import { type Authority, parseAuthority } from "./host-name.ts";
import type { JobAuthority } from "./job-authority.ts";
import { joinStreams } from "./join-streams.ts";
import type { PinnedNames } from "./pinned-names.ts";
import { EgressRefusal, type RefusalWhy } from "./refusal.ts";
import { normalPath } from "./request-path.ts";
import { badHost, readRequest, refusal } from "./request-reading.ts";
import { nameAlert, readTlsStart } from "./tls-start.ts";
import type { PinnedDestination, Upstreams } from "./upstreams.ts";

/** What the proxy decided about one request or tunnel. */
export interface ProxyDecision {
  readonly allowed: boolean;
  readonly host: string;
  readonly port: number;
  readonly method: string;
  /** Empty where the proxy does not see it. */
  readonly path: string;
  /** Empty where none was used. */
  readonly address: string;
  /** Empty where it was let through. */
  readonly reason: RefusalWhy | "";
}

/** What a proxy is made of. */
export interface EgressProxyOptions {
  readonly policy: EgressPolicy;
  readonly names: PinnedNames;
  readonly upstreams: Upstreams;
  /** Absent: no rule needs the proxy to end TLS. */
  readonly authority: JobAuthority | undefined;
  /** Hears of every decision. */
  readonly onDecision: (decision: ProxyDecision) => void;
  /** A connection on which nothing happens for this long is cut. */
  readonly idleMs: number;
}

/** Connections of a sandbox at once. */
export const maxConnections = 256;

/** Bounds on what a sandbox says. */
const bounds = {
  headerBytes: 32 * 1024,
  headersMs: 20_000,
  keepAliveMs: 60_000,
  // A guest under emulation reads its certificates for a while before it says anything.
  tlsStartMs: 60_000,
};

/** A connection whose requests are all for one destination. */
interface Tunnel {
  readonly destination: PinnedDestination;
  readonly rules: DestinationRules;
  readonly agent: Agent;
}

/** One sandbox's way out. */
export class EgressProxy {
  readonly #options: EgressProxyOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  /** By the inner end of a tunnel that the proxy looks into. */
  readonly #tunnels = new WeakMap<Duplex, Tunnel>();
  /** Of a connection that carries plain requests, by destination. */
  readonly #plain = new WeakMap<Duplex, Map<string, Tunnel>>();

  constructor(options: EgressProxyOptions) {
    this.#options = options;
    const server = createServer({
      maxHeaderSize: bounds.headerBytes,
      headersTimeout: bounds.headersMs,
      // A body may take as long as it moves.
      requestTimeout: 0,
      keepAliveTimeout: bounds.keepAliveMs,
      insecureHTTPParser: false,
    });
    server.maxConnections = maxConnections;
    server.timeout = options.idleMs;
    server.on("connection", (socket: Duplex) => this.#track(socket));
    server.on("drop", () => this.#decide("", 0, "", "TOO_MANY_CONNECTIONS"));
    server.on("request", (req, res) => void this.#onRequest(req, res));
    server.on("connect", (req, socket, head) => void this.#onConnect(req, socket, head));
    server.on("clientError", (error: NodeJS.ErrnoException, socket) =>
      this.#onUnreadable(error, socket),
    );
    this.#server = server;
  }

  /** Listens on a Unix socket that is not there yet. */
  listen(socketPath: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(socketPath, () => {
        this.#server.off("error", reject);
        // A connection that cannot be accepted now: the sandbox tries again.
        this.#server.on("error", () => {});
        resolve();
      });
    });
  }

  /** Cuts everything. Idempotent. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    this.#server.closeAllConnections();
    this.#options.upstreams.close();
    await closed;
  }

  #track(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#tunnels.get(socket)?.agent.destroy();
      for (const { agent } of this.#plain.get(socket)?.values() ?? []) agent.destroy();
    });
    // An error of a sandbox's connection ends that connection, and nothing else.
    socket.on("error", () => socket.destroy());
  }

  async #onRequest(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const method = req.method ?? "";
    let path = "";
    try {
      const tunnel = this.#tunnels.get(req.socket);
      const within = tunnel && { authority: tunnel.destination, isPlain: tunnel.rules.isPlain };
      const { authority, target } = readRequest(req, within);
      path = normalPath(target.path) ?? target.path;
      const { destination, rules, agent } = tunnel ?? (await this.#plainTunnel(req, authority));
      const verdict = rules.judge(method, target.path);
      if (verdict.why !== undefined) throw refusal(verdict.why, authority, verdict.detail);
      const { host, port } = authority;
      const isDefault = port === (rules.isPlain ? 80 : 443);
      await forwardRequest({
        ...{ req, res, destination, agent },
        hostHeader: isDefault ? host : `${host}:${port}`,
        target: target.path + target.query,
        secrets: verdict.secrets,
        onConnected: (address) => this.#decide(host, port, method, "", path, address),
      });
    } catch (error) {
      const refused = toRefusal(error, req.url ?? "");
      const { host, port, why } = refused.facts;
      this.#decide(host, port, method, why, path);
      answer(req, res, refused);
    }
  }

  /** The destination of a plain request; the same for later ones of its connection. */
  async #plainTunnel({ socket }: IncomingMessage, authority: Authority): Promise<Tunnel> {
    const { host, port } = authority;
    const known = this.#plain.get(socket) ?? new Map<string, Tunnel>();
    this.#plain.set(socket, known);
    const found = known.get(`${host}:${port}`);
    if (found !== undefined) return found;
    const rules = this.#rulesFor(authority);
    if (!rules.isPlain) {
      throw refusal("NOT_ALLOWED", authority, `the policy allows TLS only to ${host}:${port}`);
    }
    const tunnel = await this.#tunnelTo(authority, rules);
    const other = known.get(`${host}:${port}`);
    if (other !== undefined) tunnel.agent.destroy();
    else known.set(`${host}:${port}`, tunnel);
    return other ?? tunnel;
  }

  #rulesFor(authority: Authority): DestinationRules {
    const { host, port } = authority;
    const rules = this.#options.policy.rulesFor(host, port);
    if (rules !== undefined) return rules;
    throw refusal("NOT_ALLOWED", authority, `the policy has no rule for ${host}:${port}`);
  }

  async #tunnelTo(authority: Authority, rules: DestinationRules): Promise<Tunnel> {
    const { names, upstreams } = this.#options;
    const addresses = await names.addressesOf(authority.host, authority.port);
    const destination = { ...authority, addresses };
    return { destination, rules, agent: upstreams.agentFor(destination, !rules.isPlain) };
  }

  async #onConnect(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const url = req.url ?? "";
    if (!this.#sockets.has(socket)) this.#track(socket);
    const answered = { begun: false };
    try {
      const authority = parseAuthority(url);
      if (authority === undefined) throw badHost(url);
      if (this.#tunnels.has(socket)) {
        throw refusal("BAD_REQUEST", authority, "there is no tunnel within a tunnel");
      }
      const named = parseAuthority(req.headers.host ?? "", authority.port);
      if (req.headers.host !== undefined && named?.host !== authority.host) {
        throw refusal("HOST_MISMATCH", authority, "Host does not name the host of the tunnel");
      }
      const rules = this.#rulesFor(authority);
      const tunnel = await this.#tunnelTo(authority, rules);
      if (rules.isPlain) this.#lookIntoPlain(socket, head, tunnel, answered);
      else if (rules.looksInside) await this.#lookIntoTls(socket, head, tunnel, answered);
      else await this.#passThrough(socket, head, tunnel, answered);
    } catch (error) {
      const refused = toRefusal(error, url);
      const { host, port, why } = refused.facts;
      this.#decide(host, port, "CONNECT", why);
      if (socket.destroyed) return;
      if (answered.begun) socket.end(nameAlert);
      else socket.end(refused.rawAnswer);
      // What still comes is not read: it must not keep the end from coming.
      socket.resume();
    }
  }

  /** Bytes as they are, once the TLS connection has said that it is for this host. */
  async #passThrough(
    socket: Duplex,
    head: Buffer,
    { destination }: Tunnel,
    answered: { begun: boolean },
  ): Promise<void> {
    const upstream = await this.#options.upstreams.connect(destination);
    try {
      const bytes = await this.#begin(socket, head, destination, answered);
      if (bytes === undefined || socket.destroyed) {
        upstream.destroy();
        socket.destroy();
        return;
      }
      const { host, port } = destination;
      this.#decide(host, port, "CONNECT", "", "", upstream.remoteAddress ?? "");
      upstream.write(bytes);
      joinStreams(socket, upstream);
    } catch (error) {
      upstream.destroy();
      throw error;
    }
  }

  async #lookIntoTls(
    socket: Duplex,
    head: Buffer,
    tunnel: Tunnel,
    answered: { begun: boolean },
  ): Promise<void> {
    const { authority } = this.#options;
    if (authority === undefined) throw new Error("a rule that looks into TLS without an authority");
    const { destination } = tunnel;
    const bytes = await this.#begin(socket, head, destination, answered);
    if (bytes === undefined || socket.destroyed) {
      socket.destroy();
      return;
    }
    socket.unshift(bytes);
    const inner = new TLSSocket(socket as Socket, {
      isServer: true,
      secureContext: authority.contextFor(destination.host),
      ALPNProtocols: ["http/1.1"],
    });
    this.#tunnels.set(inner, tunnel);
    this.#server.emit("connection", inner);
  }

  /** Some clients send plain requests through a tunnel too: each is judged as if it had come without. */
  #lookIntoPlain(socket: Duplex, head: Buffer, tunnel: Tunnel, answered: { begun: boolean }): void {
    this.#accept(socket, answered);
    const [outer, inner] = duplexPair();
    if (head.length > 0) socket.unshift(head);
    this.#tunnels.set(inner, tunnel);
    this.#server.emit("connection", inner);
    this.#track(outer);
    joinStreams(socket, outer);
  }

  /** Answers the CONNECT and reads what the client says first. Undefined: it left. Throws EgressRefusal. */
  async #begin(
    socket: Duplex,
    head: Buffer,
    destination: PinnedDestination,
    answered: { begun: boolean },
  ): Promise<Buffer | undefined> {
    this.#accept(socket, answered);
    const start = await readTlsStart(socket, head, bounds.tlsStartMs);
    if (start === undefined) return undefined;
    const { reading, bytes } = start;
    const { host } = destination;
    if (reading.state === "refused") {
      const detail = `the tunnel to ${host} is refused: ${reading.detail}`;
      throw refusal(reading.why, destination, detail);
    }
    if (reading.name === host) return bytes;
    const detail = `the tunnel to ${host} carries a connection for ${reading.name}`;
    throw refusal("SNI_MISMATCH", destination, detail);
  }

  #accept(socket: Duplex, answered: { begun: boolean }): void {
    if ("setTimeout" in socket) {
      (socket as Socket).setTimeout(this.#options.idleMs, () => socket.destroy());
    }
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    answered.begun = true;
  }

  #onUnreadable(error: NodeJS.ErrnoException, socket: Duplex): void {
    // Only what was sent is judged; a connection that breaks says nothing.
    const isSent = error.code?.startsWith("HPE_") || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
    if (!isSent) {
      socket.destroy();
      return;
    }
    const tunnel = this.#tunnels.get(socket);
    const { host = "", port = 0 } = tunnel?.destination ?? {};
    this.#decide(host, port, "", "BAD_REQUEST");
    if (!socket.writable || socket.destroyed) return;
    const detail = "the request is refused: it cannot be read";
    socket.end(new EgressRefusal({ why: "BAD_REQUEST", host, port, detail }).rawAnswer);
  }

  #decide(
    host: string,
    port: number,
    method: string,
    reason: RefusalWhy | "",
    path = "",
    address = "",
  ): void {
    const allowed = reason === "";
    this.#options.onDecision({ allowed, host, port, method, path, address, reason });
  }
}

function toRefusal(error: unknown, url: string): EgressRefusal {
  if (error instanceof EgressRefusal) return error;
  const detail = "the request is refused: it cannot be passed on as it is";
  return new EgressRefusal({ ...badHost(url).facts, why: "BAD_REQUEST", detail }, error);
}

function answer(req: IncomingMessage, res: ServerResponse, refused: EgressRefusal): void {
  // What is still on its way is read and dropped, so that the answer gets through.
  req.resume();
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const headers = { "content-type": problemType, "x-devmesh-egress": refused.facts.why };
  res.writeHead(refused.status, headers).end(refused.body);
}
