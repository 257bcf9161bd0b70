/** Asks for a WebSocket that is refused, and tells what the refusal says. */
import { randomBytes } from "node:crypto";
import { type IncomingHttpHeaders, request } from "node:http";
import { text } from "node:stream/consumers";
import type { Problem } from "@devmesh/mesh/errors";

/** What came instead of a WebSocket. */
export interface SocketRefusal {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly problem: Problem;
}

/** What a request for a WebSocket says by default. */
function handshake(): Record<string, string> {
  return {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": randomBytes(16).toString("base64"),
  };
}

/** Asks for it; `headers` add to what such a request says. Throws if it is granted. */
export async function refusedSocket(
  url: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<SocketRefusal> {
  const answered = Promise.withResolvers<SocketRefusal>();
  const req = request(url.replace(/^ws/, "http"), {
    method,
    headers: { ...handshake(), ...headers },
    agent: false,
  });
  req.once("error", answered.reject);
  req.once("upgrade", (_res, socket) => {
    socket.destroy();
    answered.reject(new Error("the WebSocket was granted"));
  });
  req.once("response", (res) => {
    const { statusCode: status = 0, headers: got } = res;
    const read = async () => ({
      status,
      headers: got,
      problem: JSON.parse(await text(res)) as Problem,
    });
    answered.resolve(read());
  });
  req.end();
  return answered.promise;
}
