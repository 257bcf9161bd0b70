/**
 * Owns one way out of a sandbox: each connection in it to `/run/devmesh/<name>.sock`, or to
 * the door's port, becomes one to a Unix socket of the host.
 */
import { connect, type Socket } from "node:net";
import { finished } from "node:stream/promises";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { ResidentStream } from "./stream.ts";

/** As many as a resident takes at a time. */
const maxConnections = 64;

/** Carries connections of one sandbox to one socket of the host. */
export class DoorBridge {
  readonly #path: string;
  #open = 0;

  /** `path` is the host's Unix socket. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Connects `stream` and carries bytes both ways until both have ended. Throws above the limit. */
  carry(stream: ResidentStream): void {
    if (this.#open >= maxConnections) throw new Error("the sandbox opened too many connections");
    this.#open++;
    const socket = connect({ path: this.#path, allowHalfOpen: true });
    // The reading side reports it; without a listener it would end the process.
    socket.on("error", () => {});
    const ways = [toHost(stream, socket), toSandbox(socket, stream)];
    Promise.all(ways)
      .catch((error: unknown) => {
        // Either end may go at any time; the other one learns it by a closed connection.
        stream.close(new DevmeshError("UNAVAILABLE", "the connection broke", { cause: error }));
      })
      .finally(() => {
        socket.destroy();
        this.#open--;
      });
  }
}

async function toHost(stream: ResidentStream, socket: Socket): Promise<void> {
  for await (const { data } of stream.chunks()) {
    if (!socket.write(data)) await drained(socket);
  }
  socket.end();
  await finished(socket, { readable: false });
}

async function toSandbox(socket: Socket, stream: ResidentStream): Promise<void> {
  // The other way stays open when this one has ended.
  const incoming = socket.iterator({ destroyOnReturn: false });
  for await (const data of incoming) await stream.write(data);
  stream.end();
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) return reject(new Error("the other end closed the connection"));
    const done = () => {
      socket.off("drain", done).off("close", gone);
      resolve();
    };
    const gone = () => reject(new Error("the other end closed the connection"));
    socket.once("drain", done).once("close", gone);
  });
}
