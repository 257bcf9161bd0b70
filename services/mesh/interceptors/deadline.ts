/** Bounds unary calls: every one has a deadline, the caller's or the server's. */
import type { Interceptor } from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";

/**
 * Ends a unary call after `limitMs` with DEADLINE_EXCEEDED and aborts the
 * handler's signal. A caller's shorter deadline ends it earlier, through the
 * signal it came with. Streams are bounded by their handlers.
 */
export function deadlineInterceptor(limitMs: number): Interceptor {
  return (next) => async (req) => {
    if (req.stream) return next(req);
    const controller = new AbortController();
    const { promise: interrupted, reject } = Promise.withResolvers<never>();
    const stop = (reason: unknown) => {
      controller.abort(reason);
      reject(reason);
    };
    const onAbort = () => stop(req.signal.reason);
    const timer = setTimeout(() => {
      const text = `no answer within ${limitMs} ms (REQUEST_TIMEOUT_MS)`;
      stop(new DevmeshError("DEADLINE_EXCEEDED", text));
    }, limitMs);
    try {
      if (req.signal.aborted) onAbort();
      else req.signal.addEventListener("abort", onAbort, { once: true });
      return await Promise.race([next({ ...req, signal: controller.signal }), interrupted]);
    } finally {
      clearTimeout(timer);
      req.signal.removeEventListener("abort", onAbort);
    }
  };
}
