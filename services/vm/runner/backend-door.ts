/**
 * The one way out of a sandbox: a Unix socket whose bytes go to the backend's
 * public port and nowhere else.
 */
import { chmodSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A door that is open. */
export interface BackendDoor {
  readonly socketPath: string;
  /** Shuts it and cuts every connection through it. */
  close(): Promise<void>;
}

/** Opens a door to `http://host:port`. */
export async function openBackendDoor(backendUrl: string): Promise<BackendDoor> {
  const { hostname, port } = new URL(backendUrl);
  // Unix socket paths are bounded to about 100 bytes, so the folder's is short.
  const folder = await mkdtemp(join(tmpdir(), "dm-door-"));
  chmodSync(folder, 0o711);
  const socketPath = join(folder, "backend.sock");
  const sockets = new Set<Socket>();
  const server = createServer((inside) => {
    const outside = connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 80) });
    for (const socket of [inside, outside]) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      // One side's end or error is the other side's end.
      socket.on("error", () => {
        inside.destroy();
        outside.destroy();
      });
    }
    inside.pipe(outside);
    outside.pipe(inside);
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
