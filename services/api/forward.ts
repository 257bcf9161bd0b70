/** How the backend calls the services behind it on behalf of a caller. */
import type { CallOptions, HandlerContext } from "@connectrpc/connect";
import { kRequestId } from "@devmesh/mesh/context";

/** The caller's signal, remaining time, request id and trace go along. */
export function callOptions(context: HandlerContext): CallOptions {
  const timeoutMs = context.timeoutMs();
  const headers: Record<string, string> = { "x-request-id": context.values.get(kRequestId) };
  for (const name of ["traceparent", "tracestate"]) {
    const value = context.requestHeader.get(name);
    if (value !== null) headers[name] = value;
  }
  return {
    signal: context.signal,
    headers,
    // Connect takes 0 for no limit at all.
    ...(timeoutMs !== undefined && { timeoutMs: Math.max(1, timeoutMs) }),
  };
}
