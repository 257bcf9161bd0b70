/** The doors of a Seatbelt sandbox: sockets in a folder whose name nobody else is told. */
import { mkdir } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { SandboxDoor } from "../driver.ts";
import { sandboxFailed } from "../driver-errors.ts";

const mostConnections = 64;

/** Opens the doors in a folder, which is made. Throws for one with a port. */
export async function openDoors(
  folder: string,
  doors: readonly SandboxDoor[],
): Promise<readonly Server[]> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const servers: Server[] = [];
  for (const { name, socketPath, port } of doors) {
    if (port !== undefined) {
      throw sandboxFailed("process", `the door ${name} cannot have a port: all share one loopback`);
    }
    const server = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ path: socketPath, allowHalfOpen: true });
      // Either end may go at any time; the other one learns it by a closed connection.
      void Promise.all([pipeline(near, far), pipeline(far, near)]).catch(() => {
        near.destroy();
        far.destroy();
      });
    });
    server.maxConnections = mostConnections;
    servers.push(server);
    const listening = Promise.withResolvers<void>();
    server.once("error", listening.reject).listen(join(folder, `${name}.sock`), listening.resolve);
    await listening.promise;
  }
  return servers;
}
