/**
 * Owns the retries of unary calls. Only calls that are safe to repeat are: by
 * the method's `idempotency_level`, or by the idempotency key they carry.
 */
import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import type { Interceptor, UnaryRequest } from "@connectrpc/connect";
import { delayMs, type RetryPolicy, wait } from "./backoff.ts";
import { type DevmeshApiError, fromConnect } from "./errors.ts";

/** The interceptor that tries unary calls again within their deadline. */
export function createRetryInterceptor(policy: RetryPolicy): Interceptor {
  return (next) => async (request) => {
    if (request.stream || !isSafeToRepeat(request)) return next(request);
    const deadline = deadlineOf(request.header);
    for (let attempt = 1; ; attempt++) {
      try {
        return await next(request);
      } catch (error) {
        const failure = fromConnect(error);
        if (attempt > policy.maxRetries || request.signal.aborted || !isWorthIt(failure, policy)) {
          throw error;
        }
        const pause = delayMs(policy, attempt, failure.retryAfterMs);
        const remainingMs = deadline - Date.now();
        if (pause >= remainingMs) throw error;
        await wait(pause, request.signal);
        renewTimeout(request.header, deadline);
      }
    }
  };
}

function isSafeToRepeat(request: UnaryRequest): boolean {
  const level = request.method.idempotency;
  if (level === Level.NO_SIDE_EFFECTS || level === Level.IDEMPOTENT) return true;
  const { message } = request;
  return "idempotencyKey" in message && Boolean(message.idempotencyKey);
}

function isWorthIt(failure: DevmeshApiError, policy: RetryPolicy): boolean {
  if (!failure.retryable || failure.reason === "DEADLINE_EXCEEDED") return false;
  return (failure.retryAfterMs ?? 0) <= policy.maxRetryAfterMs;
}

const timeoutHeader = "connect-timeout-ms";

function deadlineOf(header: Headers): number {
  const ms = header.get(timeoutHeader);
  return ms === null ? Number.POSITIVE_INFINITY : Date.now() + Number(ms);
}

/** Tells the server what is left, not what there was at the first try. */
function renewTimeout(header: Headers, deadline: number): void {
  if (!header.has(timeoutHeader)) return;
  header.set(timeoutHeader, String(Math.max(1, Math.floor(deadline - Date.now()))));
}
