/**
 * The one way out of a sandbox: a Unix socket whose bytes go to the backend's
 * public port and nowhere else. TLS is left to `backend-door-tls.ts`.
 */
import { chmodSync } from "node:fs";
import { rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { makeDoorFolder } from "../drivers/door-folder.ts";
import { createTlsForwarder } from "./backend-door-tls.ts";

/**
 * The host's end of the door has a loopback address of its own, so that the
 * backend never takes a sandbox for a caller on this machine: those may be let
 * in without a token (DEV_BYPASS). Only Linux has more than one such address.
 */
const doorAddress = "127.0.0.2";

/** A door that is open. */
export interface BackendDoor {
  readonly socketPath: string;
  /** Shuts it and cuts every connection through it. */
  close(): Promise<void>;
}

/** Opens a door to `http://host:port` or `https://host[:port]`. */
export async function openBackendDoor(backendUrl: string): Promise<BackendDoor> {
  const folder = await makeDoorFolder();
  const socketPath = join(folder, "backend.sock");
  const sockets = new Set<Socket>();
  const isTls = new URL(backendUrl).protocol === "https:";
  const server = isTls ? createTlsForwarder(backendUrl) : createPipe(backendUrl, sockets);
  server.on("connection", (inside: Socket) => {
    sockets.add(inside);
    inside.once("close", () => sockets.delete(inside));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  // Whoever is in the sandbox may connect; the folder's name is its secret.
  chmodSync(socketPath, 0o666);
  return {
    socketPath,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A server that passes bytes on as they are; it keeps its sockets in the set. */
function createPipe(backendUrl: string, sockets: Set<Socket>): Server {
  const url = new URL(backendUrl);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isLoopback = process.platform === "linux" && /^(127\.|localhost$)/.test(host);
  const target = {
    host: isLoopback && host === "localhost" ? "127.0.0.1" : host,
    port: Number(url.port || 80),
    ...(isLoopback && { localAddress: doorAddress }),
  };
  // A side that has said all may still be answered: `pipe` passes its end on.
  return createServer({ allowHalfOpen: true }, (inside) => {
    const outside = connect({ ...target, allowHalfOpen: true });
    const pair = [
      [inside, outside],
      [outside, inside],
    ] as const;
    for (const [socket, other] of pair) {
      sockets.add(socket);
      // One side's error is the other side's end at once, its close after what is on the way.
      socket.on("error", () => other.destroy());
      socket.once("close", () => {
        sockets.delete(socket);
        other.destroySoon();
      });
    }
    inside.pipe(outside);
    outside.pipe(inside);
  });
}
