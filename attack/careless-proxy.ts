/**
 * Ways out that are made wrong on purpose: a proxy that checks nothing, and the platform's own
 * under a policy and an operator that open too much. Sandboxes to go with them are in `fixture.ts`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "@devmesh/mesh/runtime";
import { openEgress } from "@devmesh/vm/egress";
import type { WayOut } from "./way-out.ts";

/** A proxy at a port of the host's loopback. */
export interface WeakProxy {
  /** What a sandbox is given in its variables. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** How long a destination may take to answer a connection. */
const connectLimitMs = 1_500;

/** Goes wherever it is told, by every name that resolves, with all that it is given. */
export async function openCareless(way: WayOut): Promise<WeakProxy> {
  const proxy = await listen((socket) => {
    socket.once("data", (first) => {
      socket.pause();
      serve(socket, first, way).catch(() => socket.destroy());
    });
  });
  // As careless with what it should put in itself.
  return { ...proxy, env: { ...proxy.env, ATTACK_KEY: way.secret } };
}

/** The platform's own proxy, under the policy and the settings of `WayOut.wide`. */
export async function openWide(way: WayOut): Promise<WeakProxy> {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-wide-"));
  const egress = await openEgress({
    ...{ ...way.wide, folder, jobId: "job_attack", clock: new SystemClock() },
    report: async () => {},
    note: () => {},
  });
  const proxy = await listen((socket) => {
    const inner = connect(egress.door.socketPath);
    inner.on("error", () => socket.destroy());
    socket.on("close", () => inner.destroy());
    socket.pipe(inner).pipe(socket);
  });
  return {
    env: proxy.env,
    async close() {
      await proxy.close();
      await egress.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function listen(serveSocket: (socket: Socket) => void): Promise<WeakProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    serveSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    env: { HTTP_PROXY: `http://127.0.0.1:${port}` },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function serve(socket: Socket, first: Buffer, way: WayOut): Promise<void> {
  if (first[0] === 5) return await serveSocks(socket, way);
  const text = first.toString("latin1");
  const connectTo = /^CONNECT (\S+):(\d+) /.exec(text);
  const [, host = "", port = "80"] =
    connectTo ?? /^\S+ http:\/\/(?:[^@/]*@)?([^/\s]*?)(?::(\d+))?\//.exec(text) ?? [];
  const upstream = await reach(host, Number(port), way);
  if (upstream === undefined) {
    socket.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
    return;
  }
  if (connectTo === null) {
    // What else stands in it goes along as it is.
    upstream.write(text.replace(/ http:\/\/[^/]*/, " "), "latin1");
  } else {
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    const rest = text.indexOf("\r\n\r\n") + 4;
    upstream.write(first.subarray(rest));
  }
  joinBoth(socket, upstream);
}

async function serveSocks(socket: Socket, way: WayOut): Promise<void> {
  socket.write(Buffer.from([5, 0]));
  const request = await new Promise<Buffer>((resolve) => {
    socket.once("data", resolve);
    socket.resume();
  });
  socket.pause();
  const isName = request[3] === 3;
  const end = isName ? 5 + (request[4] ?? 0) : 8;
  const host = isName ? request.toString("latin1", 5, end) : request.subarray(4, end).join(".");
  const upstream = await reach(host, request.readUInt16BE(end), way);
  if (upstream === undefined) {
    socket.destroy();
    return;
  }
  socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
  joinBoth(socket, upstream);
}

function joinBoth(socket: Socket, upstream: Socket): void {
  upstream.on("error", () => socket.destroy());
  upstream.on("close", () => socket.destroy());
  socket.on("close", () => upstream.destroy());
  socket.pipe(upstream).pipe(socket);
}

/** The last address of an answer that was asked for just now: whatever it is. */
async function reach(host: string, port: number, way: WayOut): Promise<Socket | undefined> {
  const plain = host.replace(/^\[|\]$/g, "");
  const isName = /[g-z]/i.test(plain) && plain !== "localhost";
  const found = isName ? await way.resolve(plain).catch(() => []) : [plain];
  const address = found.at(-1);
  if (address === undefined) return undefined;
  const socket = connect({ host: address, port, timeout: connectLimitMs });
  return await new Promise((resolve) => {
    const fail = () => {
      socket.destroy();
      resolve(undefined);
    };
    socket.once("error", fail).once("timeout", fail);
    socket.once("connect", () => {
      socket.off("timeout", fail).setTimeout(0);
      resolve(socket);
    });
  });
}
