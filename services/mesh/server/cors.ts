/** Cross-origin rules of the public port. */
import { cors } from "@connectrpc/connect";
import type { HttpExchange } from "./http-exchange.ts";

const allowedHeaders = [
  ...cors.allowedHeaders,
  "Authorization",
  "Idempotency-Key",
  "Last-Event-ID",
  "X-Request-Id",
  "Traceparent",
].join(", ");
const exposedHeaders = [...cors.exposedHeaders, "X-Request-Id", "Retry-After"].join(", ");

/**
 * Sets the CORS headers for an allowed origin. Answers true if the request was
 * a preflight and is done. `*` allows every origin.
 */
export function applyCors(exchange: HttpExchange, origins: readonly string[]): boolean {
  const origin = exchange.header("origin");
  const allowed = origin !== "" && (origins.includes(origin) || origins.includes("*"));
  if (allowed) {
    exchange.res.setHeader("access-control-allow-origin", origin);
    exchange.res.setHeader("access-control-expose-headers", exposedHeaders);
    exchange.res.setHeader("vary", "origin");
  }
  const preflight =
    exchange.verb === "OPTIONS" && exchange.headers.has("access-control-request-method");
  if (!preflight) return false;
  if (allowed) {
    exchange.res.setHeader("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE");
    exchange.res.setHeader("access-control-allow-headers", allowedHeaders);
    exchange.res.setHeader("access-control-max-age", "7200");
  }
  exchange.bytes(204, "text/plain", new Uint8Array());
  return true;
}
