/**
 * Owns the way to a port of a guest through the Unix socket that Firecracker keeps for it.
 * What is said on the connection is left to the resident's channel.
 */
import { connect, type Socket } from "node:net";
import { DevmeshError } from "@devmesh/mesh/errors";
import { sandboxFailed } from "../driver-errors.ts";

/** `OK` and a number, with room to spare. */
const maxAnswerBytes = 64;
const newlineByte = 10;

/**
 * A connection to `port` of the guest. Throws SANDBOX_FAILED when nobody in the guest listens
 * there or Firecracker answers anything else, and CANCELLED when `signal` fires.
 */
export async function connectVsock(
  socketPath: string,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = connect({ path: socketPath });
  const stop = () => socket.destroy(new Error("the call was given up"));
  signal.addEventListener("abort", stop, { once: true });
  try {
    if (signal.aborted) stop();
    socket.write(`CONNECT ${port}\n`);
    const line = await firstLine(socket);
    if (!/^OK \d+$/.test(line)) throw new Error(`the answer was ${JSON.stringify(line)}`);
    return socket;
  } catch (error: unknown) {
    socket.destroy();
    if (signal.aborted) {
      throw new DevmeshError("CANCELLED", "the call was cancelled", { cause: error });
    }
    throw sandboxFailed("firecracker", `port ${port} of the guest cannot be reached`, error);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** The first line; what follows it stays to be read. */
function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let all: Buffer = Buffer.alloc(0);
    const done = (act: () => void) => {
      socket.off("readable", read).off("error", reject).off("end", ended);
      act();
    };
    const ended = () => done(() => reject(new Error("the connection was closed")));
    const read = () => {
      for (let part = socket.read(); part !== null; part = socket.read()) {
        all = Buffer.concat([all, part]);
        const end = all.indexOf(newlineByte);
        if (end < 0 && all.length <= maxAnswerBytes) continue;
        if (end < 0) return done(() => reject(new Error("the answer has no end")));
        const rest = all.subarray(end + 1);
        return done(() => {
          if (rest.length > 0) socket.unshift(rest);
          resolve(all.toString("latin1", 0, end));
        });
      }
    };
    socket.on("readable", read).once("error", reject).once("end", ended);
  });
}
