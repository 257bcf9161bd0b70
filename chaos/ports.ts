/** Fixed ports for parts that come back at the same address. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Below those that kernels give to outgoing connections: while a part is down
 * nobody takes its port, and no client connects to itself by chance.
 */
const range = { from: 20_000, to: 30_000 };

/** So many different ports that are free on 127.0.0.1 now. */
export async function pickPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(range.from, range.to);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return true;
  } catch {
    // Somebody has it.
    return false;
  } finally {
    server.close();
  }
}
