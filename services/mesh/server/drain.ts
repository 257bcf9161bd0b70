/** How a stream learns that the server shuts down. Unary calls are waited for instead. */
import type { Interceptor } from "@connectrpc/connect";

/** Aborts the signal of streams, for engines that run interceptors only. */
export function drainInterceptor(shutdown: AbortSignal): Interceptor {
  return (next) => (req) =>
    next(req.stream ? { ...req, signal: AbortSignal.any([req.signal, shutdown]) } : req);
}
