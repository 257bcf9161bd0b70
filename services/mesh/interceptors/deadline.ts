/** Bounds unary calls: every one has a deadline, the caller's or the server's. */
import type { Interceptor } from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";

/**
 * Ends a unary call after `limitMs` with DEADLINE_EXCEEDED and aborts the
 * handler's signal. A caller's shorter deadline ends it earlier, through the
 * signal it came with. Streams are bounded by their handlers.
 */
export function deadlineInterceptor(limitMs: number): Interceptor {
  return (next) => (req) => {
    if (req.stream) return next(req);
    const controller = new AbortController();
    const onAbort = () => controller.abort(req.signal.reason);
    if (req.signal.aborted) onAbort();
    else req.signal.addEventListener("abort", onAbort, { once: true });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const error = new DevmeshError(
          "DEADLINE_EXCEEDED",
          `no answer within ${limitMs} ms (REQUEST_TIMEOUT_MS)`,
        );
        controller.abort(error);
        reject(error);
      }, limitMs);
      next({ ...req, signal: controller.signal })
        .then(resolve, reject)
        .finally(() => {
          clearTimeout(timer);
          req.signal.removeEventListener("abort", onAbort);
        });
    });
  };
}
