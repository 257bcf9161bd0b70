/**
 * The way out of a sandbox to a backend behind TLS: an HTTP/1.1 server whose
 * requests go on to the backend under its own name. The socket is the door's.
 */
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from "node:http";
import { Agent, request } from "node:https";
import { pipeline } from "node:stream";

/** What concerns one connection only, and the host that the sandbox thinks it talks to. */
const ownHeaders = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"],
  ...["upgrade", "host", "expect"],
]);

/** A server that is not listening yet; closing it ends its calls to the backend. */
export function createTlsForwarder(backendUrl: string): Server {
  const base = new URL(backendUrl);
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const server = createServer((inside, answer) => forward(base, agent, inside, answer));
  // The backend bounds how long a call may take; a stream may be silent for long.
  server.requestTimeout = 0;
  server.once("close", () => agent.destroy());
  return server;
}

function forward(base: URL, agent: Agent, inside: IncomingMessage, answer: ServerResponse): void {
  const outside = request({
    agent,
    host: base.hostname.replace(/^\[|\]$/g, ""),
    port: base.port || 443,
    method: inside.method,
    path: inside.url,
    headers: { ...passed(inside.headers), host: base.host },
  });
  outside.once("response", (response) => {
    answer.writeHead(response.statusCode ?? 502, passed(response.headers));
    // What breaks on one side breaks the other: a cut answer never looks whole.
    pipeline(response, answer, () => {});
  });
  outside.once("error", () => {
    if (answer.headersSent) answer.destroy();
    else
      answer.writeHead(502, { "content-type": "text/plain" }).end("the backend does not answer\n");
  });
  pipeline(inside, outside, () => {});
  answer.once("close", () => outside.destroy());
}

function passed(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const own = String(headers.connection ?? "")
    .toLowerCase()
    .split(",")
    .map((name) => name.trim());
  const entries = Object.entries(headers);
  return Object.fromEntries(entries.filter(([n]) => !ownHeaders.has(n) && !own.includes(n)));
}
