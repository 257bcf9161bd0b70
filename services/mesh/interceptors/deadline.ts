/** Bounds unary calls: every one has a deadline, the caller's or the server's. */
import type { Interceptor, UnaryRequest } from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";

/**
 * Ends a unary call after `limitMs` with DEADLINE_EXCEEDED and aborts the
 * handler's signal. A caller's shorter deadline ends it earlier, through the
 * signal it came with. Streams are bounded by their handlers.
 */
export function deadlineInterceptor(limitMs: number): Interceptor {
  return (next) => (req) => {
    if (req.stream) return next(req);
    const own = abortOf(req);
    // Such a way in ends the call at the caller's deadline: if that is sooner, it is enough.
    if (own !== undefined && timeLeft(req) <= limitMs) return next(req);
    const controller = own ?? new AbortController();
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        controller.abort(req.signal.reason);
        reject(req.signal.reason);
      };
      if (own === undefined) {
        if (req.signal.aborted) onAbort();
        else req.signal.addEventListener("abort", onAbort, { once: true });
      }
      const timer = setTimeout(() => {
        const text = `no answer within ${limitMs} ms (REQUEST_TIMEOUT_MS)`;
        const error = new DevmeshError("DEADLINE_EXCEEDED", text);
        controller.abort(error);
        reject(error);
      }, limitMs);
      const end = () => {
        clearTimeout(timer);
        if (own === undefined) req.signal.removeEventListener("abort", onAbort);
      };
      const call = own === undefined ? { ...req, signal: controller.signal } : req;
      next(call).then(
        (res) => {
          end();
          resolve(res);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  };
}

/** What the caller gave the call, in milliseconds. */
function timeLeft(req: UnaryRequest & { readonly timeoutMs?: number | undefined }): number {
  return req.timeoutMs ?? Number.POSITIVE_INFINITY;
}

/** What aborts the request's own signal, where the way in hands it out and nobody replaced it. */
function abortOf(
  req: UnaryRequest & { readonly abort?: AbortController },
): AbortController | undefined {
  return req.abort?.signal === req.signal ? req.abort : undefined;
}
