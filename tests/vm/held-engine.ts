/** Stands before a container engine and holds some of its requests back. What they do is the engine's. */
import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";

/** A socket that leads to an engine. */
export class HeldEngine {
  readonly socketPath: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #hold: { readonly what: string; arrive(): void; readonly released: Promise<void> } | undefined;

  private constructor(socketPath: string, server: Server) {
    this.socketPath = socketPath;
    this.#server = server;
  }

  /** Listens at `socketPath` for the engine at `engineSocket`. */
  static async listen(socketPath: string, engineSocket: string): Promise<HeldEngine> {
    const server = createServer();
    const held = new HeldEngine(socketPath, server);
    server.on("connection", (near) => held.#join(near, createConnection(engineSocket)));
    server.listen(socketPath);
    await once(server, "listening");
    return held;
  }

  /** Holds the next request that begins so, for example `POST /containers/create`, until `release`. */
  hold(what: string): { readonly reached: Promise<void>; release(): void } {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.#hold = { what, arrive: reached.resolve, released: released.promise };
    return { reached: reached.promise, release: released.resolve };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #join(near: Socket, far: Socket): void {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      // Either end may break off in the middle, as an engine's does.
      socket.on("error", () => other.destroy());
      socket.once("close", () => {
        this.#sockets.delete(socket);
        other.end();
      });
    }
    far.pipe(near);
    near.on("data", (data: Buffer) => void this.#pass(data, near, far));
    near.once("end", () => far.end());
  }

  async #pass(data: Buffer, near: Socket, far: Socket): Promise<void> {
    const hold = this.#hold;
    if (hold !== undefined && data.subarray(0, 200).toString("latin1").startsWith(hold.what)) {
      this.#hold = undefined;
      near.pause();
      hold.arrive();
      await hold.released;
      near.resume();
    }
    far.write(data);
  }
}
