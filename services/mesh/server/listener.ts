/**
 * One TCP port for HTTP/1.1 and cleartext HTTP/2: looks at the first bytes of
 * a connection and hands the socket to the engine that speaks it.
 */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { DevmeshError } from "../errors/index.ts";

/** The two engines behind one port. */
export interface Engines {
  /** Takes an HTTP/1.1 connection. */
  http1(socket: Socket): void;
  /** Takes an HTTP/2 connection whose preface is unread. */
  http2(socket: Duplex): void;
}

/** The start of the HTTP/2 client preface (RFC 9113 §3.4); no HTTP/1.1 method starts so. */
const preface = Buffer.from("PRI * HTTP/2.0");

/** Silence, in milliseconds, after which the system asks whether a peer is still there. */
const tcpKeepaliveMs = 30_000;

/** Where to listen and how patiently. */
export interface ListenOptions {
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
  /** How long a connection may take until its first bytes tell what it speaks. */
  readonly firstBytesTimeoutMs: number;
  /** Connections at once. Past it the one that has been silent longest is closed, or else the new one. */
  readonly maxConnections: number;
}

/** A port that is open. */
export interface Listener {
  /** The port, also where 0 was asked for. */
  readonly port: number;
  /** Takes no further connections; those that are there stay. */
  stop(): Promise<void>;
  /** Ends every connection at once. */
  destroy(): void;
}

/** Opens the port. Throws UNAVAILABLE that names the port if it is taken. */
export async function listen(options: ListenOptions, engines: Engines): Promise<Listener> {
  const { host, port, firstBytesTimeoutMs, maxConnections } = options;
  const sockets = new Set<Socket>();
  /** Those that have not told yet what they speak, in the order in which they came. */
  const silent = new Set<Socket>();
  // A client may end its side with the request: HTTP/1.1 still answers it.
  const tcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: tcpKeepaliveMs };
  const server = createServer({ allowHalfOpen: true, ...tcp }, (socket) => {
    if (sockets.size >= maxConnections && !closeOldest(silent)) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    silent.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      silent.delete(socket);
    });
    // A reset connection is the client's affair; its calls end by their signals.
    socket.on("error", () => socket.destroy());
    const heard = () => silent.delete(socket);
    route(socket, engines, { timeoutMs: firstBytesTimeoutMs, heard });
  });
  await bind(server, host, port);
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
      }),
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Makes room; false if every connection speaks. */
function closeOldest(silent: Set<Socket>): boolean {
  for (const socket of silent) {
    silent.delete(socket);
    socket.destroy();
    return true;
  }
  return false;
}

/** How patient the first look is, and whom it tells that it has seen enough. */
interface FirstLook {
  readonly timeoutMs: number;
  heard(): void;
}

function route(socket: Socket, engines: Engines, { timeoutMs, heard }: FirstLook): void {
  let seen: Buffer = Buffer.alloc(0);
  // Not an idle timeout: a client that sends a byte now and then is as late.
  const destroy = () => socket.destroy();
  const late = setTimeout(destroy, timeoutMs);
  socket.once("close", () => clearTimeout(late));
  socket.once("end", destroy);
  const onData = (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const compared = Math.min(seen.length, preface.length);
    const isHttp2 = seen.subarray(0, compared).equals(preface.subarray(0, compared));
    if (isHttp2 && compared < preface.length) return;
    heard();
    socket.removeListener("data", onData);
    socket.pause();
    socket.removeListener("end", destroy);
    clearTimeout(late);
    socket.unshift(seen);
    // HTTP/2 takes the handle and what was unshifted; HTTP/1.1 listens for data.
    if (isHttp2) {
      socket.allowHalfOpen = false;
      engines.http2(socket);
    } else {
      engines.http1(socket);
      socket.resume();
    }
  };
  socket.on("data", onData);
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const why = cause.code === "EADDRINUSE" ? "is taken by another program" : "cannot be opened";
      reject(
        new DevmeshError("UNAVAILABLE", `port ${port} of ${host} ${why}: choose another one`, {
          metadata: { port: String(port) },
          cause,
        }),
      );
    });
    server.listen(port, host, resolve);
  });
}
