/** Repeats failed unary calls of a client where the proto says that it is safe. */
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Interceptor } from "@connectrpc/connect";
import { isRetryable, toDevmeshError } from "../errors/index.ts";
import type { Clock } from "../runtime/index.ts";

/** How often and how patiently. */
export interface RetryOptions {
  readonly clock: Clock;
  /** Tries in all. Default: 4. */
  readonly attempts?: number;
  /** First wait; each further one doubles, with full jitter. Default: 50 ms. */
  readonly baseMs?: number;
  /** The longest wait; who asks for a longer one is not asked again. Default: 2,000 ms. */
  readonly maxMs?: number;
  /** From 0 to 1: which share of the wait is taken. Default: Math.random. */
  readonly random?: () => number;
}

/** Retries methods whose `idempotency_level` is set, within the call's deadline. */
export function retryInterceptor(options: RetryOptions): Interceptor {
  const { clock, attempts = 4, baseMs = 50, maxMs = 2_000, random = Math.random } = options;
  return (next) => async (req) => {
    const level = req.method.idempotency;
    if (req.stream || level === MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN) {
      return next(req);
    }
    const { deadlineMs = Number.POSITIVE_INFINITY } = req as { readonly deadlineMs?: number };
    for (let attempt = 1; ; attempt++) {
      try {
        return await next(req);
      } catch (error) {
        const { reason, retryAfterMs } = toDevmeshError(error);
        if (attempt === attempts || req.signal.aborted || !isRetryable(reason)) throw error;
        const wait = retryAfterMs ?? Math.min(maxMs, baseMs * 2 ** (attempt - 1)) * random();
        if (wait > maxMs || clock.now() + wait >= deadlineMs) throw error;
        await clock.sleep(wait, req.signal);
      }
    }
  };
}
