/**
 * Bounds how often a caller may call. Which limits there are is the service's
 * to say; how calls are counted is left to a `RateLimiter`.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { kPeer, kPrincipal, type Peer, type Principal } from "../context/index.ts";
import { DevmeshError } from "../errors/index.ts";

/** A token bucket: what it lets through in the long run, and at once after a quiet time. */
export interface RateLimit {
  /** Calls in a second; more than 0. */
  readonly perSecond: number;
  /** Calls at once; 1 at least. */
  readonly burst: number;
}

/** Counts calls. */
export interface RateLimiter {
  /**
   * Takes one call out of the bucket of this name. Answers 0 if it was there,
   * or else in how many milliseconds one will be.
   */
  take(name: string, limit: RateLimit): number | Promise<number>;
}

/** One bucket that a call is taken out of. */
export interface RateRule {
  /** The bucket's name: the same for all calls that share it. */
  readonly name: string;
  readonly limit: RateLimit;
  /** What is limited, for the caller: `this token`, `JobService.CreateJob`. */
  readonly what: string;
}

/** Tells the buckets of a call; undefined: it is not limited. */
export type RateRules = (
  principal: Principal,
  method: DescMethod,
  peer: Peer,
) => readonly RateRule[] | undefined;

/** Throws RATE_LIMITED, with the time to wait, for a call that finds a bucket empty. */
export function rateLimitInterceptor(limiter: RateLimiter, rulesOf: RateRules): Interceptor {
  return (next) => (req) => {
    const values = req.contextValues;
    const rules = rulesOf(values.get(kPrincipal), req.method, values.get(kPeer));
    if (rules === undefined) return next(req);
    return takeAll(limiter, rules).then(() => next(req));
  };
}

async function takeAll(limiter: RateLimiter, rules: readonly RateRule[]): Promise<void> {
  for (const { name, limit, what } of rules) {
    const waitMs = await limiter.take(name, limit);
    if (waitMs > 0) throw rateLimited(what, waitMs);
  }
}

/** The refusal of a call that comes too soon. */
export function rateLimited(what: string, waitMs: number): DevmeshError {
  const retryAfterMs = Math.ceil(waitMs);
  return new DevmeshError("RATE_LIMITED", `${what}: too many calls, wait ${retryAfterMs} ms`, {
    retryAfterMs,
  });
}
