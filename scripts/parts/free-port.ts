/** Free ports for components that cannot choose one themselves. */
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * A TCP port that is free on 127.0.0.1 now. The kernel hands such ports out in turn, so two
 * callers do not get the same one in quick succession.
 */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no TCP port was given");
  return address.port;
}
