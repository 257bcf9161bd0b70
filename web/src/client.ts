/** The only place where the console makes a client, or an address of the backend. */
import { createDevmesh, type Devmesh } from "@devmesh/sdk";

/** The backend's base URL: the page's own origin unless `<meta name="devmesh-api">` names another. */
export function backendUrl(page: Document = document): string {
  const named = page.querySelector('meta[name="devmesh-api"]')?.getAttribute("content") ?? "";
  return (named === "" ? page.location.origin : named).replace(/\/+$/, "");
}

/** Makes the client of the backend at `baseUrl`; `token` is asked before each call. */
export function createConsoleClient(baseUrl: string, token: () => string | undefined): Devmesh {
  return createDevmesh({
    baseUrl,
    token,
    // The page itself came this way: whoever serves it over plain HTTP has decided so.
    insecure: baseUrl === location.origin,
    timeoutMs: 20_000,
    retry: { maxRetries: 1 },
  });
}

/** Opens the WebSocket of a job's events from number `from` on. */
export function openJobSocket(
  baseUrl: string,
  token: string | undefined,
  id: string,
  from: number,
): WebSocket {
  const url = new URL(`${baseUrl}/v1/stream/${encodeURIComponent(id)}?from=${from}`);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  // A browser cannot set headers on a WebSocket: the token travels as a subprotocol.
  const protocols = token === undefined ? [] : [`bearer.${token}`];
  return new WebSocket(url, ["devmesh.v1", ...protocols]);
}
