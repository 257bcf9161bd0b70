/** Owns Node's transports: HTTP/2 by prior knowledge, HTTP/1.1, and both over a Unix socket. */
import { Agent } from "node:http";
import { connect } from "node:net";
import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { DevmeshConfigError } from "../errors.ts";
import type { TransportSetup } from "../options.ts";

/** A transport and the connection it holds. */
export interface NodeConnection {
  readonly transport: Transport;
  close(): void;
}

/** The longest wait for the answer to a ping. */
const longestPingTimeoutMs = 15_000;

/** Which HTTP, and how its connection is watched. */
export interface NodeTransportOptions {
  readonly httpVersion: "1.1" | "2";
  /** A proxy or load balancer in between may drop quiet connections without a word. */
  readonly pingIntervalMs: number;
}

/** Makes the transport for a URL, or for `unix:/path`. */
export function createNodeTransport(
  setup: TransportSetup,
  { httpVersion, pingIntervalMs }: NodeTransportOptions,
): NodeConnection {
  const socketPath = socketPathOf(setup.baseUrl);
  const baseUrl = socketPath === undefined ? setup.baseUrl : "http://localhost";
  const shared = { baseUrl, interceptors: setup.interceptors };
  if (httpVersion === "1.1") {
    const agent = socketPath === undefined ? undefined : new Agent({ keepAlive: true });
    return {
      transport: createConnectTransport({
        ...shared,
        httpVersion,
        nodeOptions: agent === undefined ? {} : { agent, socketPath },
      }),
      close: () => agent?.destroy(),
    };
  }
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs, pingTimeoutMs: Math.min(pingIntervalMs, longestPingTimeoutMs) },
    socketPath === undefined ? undefined : { createConnection: () => connect(socketPath) },
  );
  return {
    transport: createConnectTransport({ ...shared, httpVersion, sessionManager }),
    close: () => sessionManager.abort(),
  };
}

/** The path of `unix:/path`; undefined for a URL. Throws `DevmeshConfigError`. */
export function socketPathOf(baseUrl: string): string | undefined {
  if (!baseUrl.startsWith("unix:")) return undefined;
  const path = baseUrl.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
  if (path.startsWith("/")) return path;
  throw new DevmeshConfigError(`baseUrl: ${JSON.stringify(baseUrl)} needs an absolute path`);
}
