/**
 * Connections of one sandbox to the outside: to checked addresses only, all
 * counted, all cut when the sandbox is gone.
 */
import { Agent } from "node:http";
import { connect, isIPv4, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import type { Authority } from "./host-name.ts";
import { EgressRefusal } from "./refusal.ts";

/**
 * Where a connection to this host's own loopback comes from, should the
 * operator have opened it: never the address of a caller on this machine, for
 * whom services may ask no token. Only Linux has more than one such address.
 */
const sandboxAddress = "127.0.0.2";

/** Addresses of one name that are tried. */
const maxTries = 4;

/** Bounds in milliseconds. */
const limits = { connectMs: 10_000, handshakeMs: 10_000 };

/** What upstream connections are made of. */
export interface UpstreamsOptions {
  /** Certificates that are trusted, PEM. Absent: those that Node trusts. */
  readonly ca: readonly string[] | undefined;
  /** A connection on which nothing happens for this long is cut. */
  readonly idleMs: number;
}

/** A destination with the addresses that were checked for it. */
export interface PinnedDestination extends Authority {
  readonly addresses: readonly string[];
}

/** Bytes that went out and came in. */
export interface EgressBytes {
  readonly egressBytes: number;
  readonly ingressBytes: number;
}

/** The connections of one sandbox. */
export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #sockets = new Set<Socket>();
  readonly #closed = { egressBytes: 0, ingressBytes: 0 };
  readonly #ended = new AbortController();

  constructor(options: UpstreamsOptions) {
    this.#options = options;
  }

  /** A TCP connection to the first address that takes one. Throws EgressRefusal (UNREACHABLE). */
  async connect({ host, port, addresses }: PinnedDestination): Promise<Socket> {
    let cause: unknown;
    for (const address of addresses.slice(0, maxTries)) {
      if (this.#ended.signal.aborted) break;
      try {
        return await this.#open(address, port);
      } catch (error) {
        cause = error;
      }
    }
    const detail = `${host}:${port} cannot be connected to`;
    throw new EgressRefusal({ why: "UNREACHABLE", host, port, detail }, cause);
  }

  /** The same with TLS on it, the host's certificate checked. Throws EgressRefusal. */
  async connectTls(destination: PinnedDestination): Promise<Socket> {
    const { host, port } = destination;
    const socket = await this.connect(destination);
    const { ca } = this.#options;
    const secure = connectTls({
      socket,
      servername: host,
      ALPNProtocols: ["http/1.1"],
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
      ...(ca !== undefined && { ca: [...ca] }),
    });
    const timer = setTimeout(
      () => secure.destroy(new Error("no handshake in time")),
      limits.handshakeMs,
    );
    try {
      await new Promise<void>((resolve, reject) => {
        secure.once("secureConnect", resolve);
        secure.once("error", reject);
        secure.once("close", () => reject(new Error("closed")));
      });
      return secure;
    } catch (error) {
      secure.destroy();
      const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
      const detail = `${host}:${port} could not prove by TLS who it is${code}`;
      throw new EgressRefusal({ why: "UPSTREAM_TLS", host, port, detail }, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Connections for requests to one destination, which are used again while they are open. */
  agentFor(destination: PinnedDestination, isTls: boolean): Agent {
    return new PinnedAgent(() =>
      isTls ? this.connectTls(destination) : this.connect(destination),
    );
  }

  /** What went over all of them so far. */
  bytes(): EgressBytes {
    let { egressBytes, ingressBytes } = this.#closed;
    for (const { bytesWritten, bytesRead } of this.#sockets) {
      egressBytes += bytesWritten;
      ingressBytes += bytesRead;
    }
    return { egressBytes, ingressBytes };
  }

  /** Cuts all, and makes no more. */
  close(): void {
    this.#ended.abort();
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(address: string, port: number): Promise<Socket> {
    const isLoopback = isIPv4(address) && address.startsWith("127.");
    const socket = connect({
      host: address,
      port,
      ...(isLoopback && process.platform === "linux" && { localAddress: sandboxAddress }),
    });
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#closed.egressBytes += socket.bytesWritten;
      this.#closed.ingressBytes += socket.bytesRead;
    });
    const timer = setTimeout(() => socket.destroy(new Error("no answer")), limits.connectMs);
    return new Promise<Socket>((resolve, reject) => {
      socket.once("connect", () => {
        socket.off("error", reject);
        // From here on errors are its user's; one that nobody hears of closes it, no more.
        socket.on("error", () => socket.destroy());
        socket.setTimeout(this.#options.idleMs, () => socket.destroy());
        socket.setNoDelay(true);
        resolve(socket);
      });
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed")));
    }).finally(() => clearTimeout(timer));
  }
}

/** Sockets come from `open`, whatever a request says of its host. */
class PinnedAgent extends Agent {
  readonly #open: () => Promise<Socket>;

  constructor(open: () => Promise<Socket>) {
    super({ keepAlive: true, keepAliveMsecs: 4_000, maxSockets: 16, maxFreeSockets: 4 });
    this.#open = open;
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    const done = callback as ((error: Error | null, socket?: Duplex) => void) | undefined;
    this.#open().then(
      (socket) => done?.(null, socket),
      (error: Error) => done?.(error),
    );
  }
}
