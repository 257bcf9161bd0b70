/**
 * A Unix socket for one connection: that of a container's resident, which comes before any
 * other program runs there. Whoever comes later finds nobody.
 */
import { once } from "node:events";
import { chmod, chown, mkdir, open } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";

/** A socket that waits for its one connection. */
export interface ChannelSocket {
  /** For the container's mount. */
  readonly path: string;
  /** The connection. Rejects when `signal` fires before it. */
  connection(signal: AbortSignal): Promise<Socket>;
  /** Stops waiting. Idempotent; a connection that was made stays. */
  close(): void;
}

/** Listens in a folder below `folder` that no other user of the host can enter. */
export async function listenForResident(folder: string, uid: number): Promise<ChannelSocket> {
  const place = join(folder, "channel");
  await mkdir(place, { mode: 0o700 });
  const path = join(place, "resident.sock");
  const server = createServer();
  const arrived = once(server, "connection").then(([socket]: Socket[]) => socket);
  arrived.catch(() => {});
  const handle = await open(place);
  try {
    // A state folder may lie deeper than the name of a socket can tell.
    server.listen(`/proc/self/fd/${handle.fd}/resident.sock`);
    await once(server, "listening");
  } finally {
    await handle.close();
  }
  await chmod(path, 0o600);
  await chown(path, uid, uid);
  const close = () => {
    if (server.listening) server.close();
  };
  return {
    path,
    close,
    async connection(signal) {
      const stopped = Promise.withResolvers<never>();
      const onAbort = () => stopped.reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) onAbort();
      try {
        const socket = await Promise.race([arrived, stopped.promise]);
        if (socket === undefined) throw new Error("there was no connection");
        return socket;
      } finally {
        signal.removeEventListener("abort", onAbort);
        close();
      }
    },
  };
}
