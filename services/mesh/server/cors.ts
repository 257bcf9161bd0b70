/** Cross-origin rules of the public port. */
import { cors } from "@connectrpc/connect";
import type { HttpRequest, HttpResponse } from "./http-exchange.ts";

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
export function applyCors(
  { method, headers }: HttpRequest,
  res: HttpResponse,
  origins: readonly string[],
): boolean {
  const { origin } = headers;
  const allowed = origin !== undefined && (origins.includes(origin) || origins.includes("*"));
  // A cache must not show one origin the answer to another.
  if (origins.length > 0) res.setHeader("vary", "origin");
  if (allowed) {
    res.setHeader("access-control-allow-origin", origin);
    res.setHeader("access-control-expose-headers", exposedHeaders);
  }
  if (method !== "OPTIONS" || headers["access-control-request-method"] === undefined) return false;
  if (allowed) {
    res.setHeader("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE");
    res.setHeader("access-control-allow-headers", allowedHeaders);
    res.setHeader("access-control-max-age", "7200");
  }
  res.writeHead(204);
  res.end();
  return true;
}
