/**
 * Token buckets in this process: for one backend alone, and for callers that
 * no replica needs to agree on.
 */
import type { RateLimit, RateLimiter } from "@devmesh/mesh/interceptors";
import type { Clock } from "@devmesh/mesh/runtime";

/** What the limiter needs. */
export interface MemoryRateLimiterOptions {
  readonly clock: Clock;
  /** Buckets at most; past it the one that was used least recently is forgotten. Default: 100,000. */
  readonly maxBuckets?: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Buckets in a map. */
export class MemoryRateLimiter implements RateLimiter {
  readonly #clock: Clock;
  readonly #maxBuckets: number;
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor({ clock, maxBuckets = 100_000 }: MemoryRateLimiterOptions) {
    this.#clock = clock;
    this.#maxBuckets = maxBuckets;
  }

  /** How many buckets are known. */
  get size(): number {
    return this.#buckets.size;
  }

  take(name: string, limit: RateLimit): number {
    const bucket = this.#filled(name, limit);
    if (bucket.tokens < 1) return waitMs(bucket.tokens, limit);
    bucket.tokens -= 1;
    return 0;
  }

  /** Like `take`, but takes nothing, and forgets a bucket that is full again. */
  peek(name: string, limit: RateLimit): number {
    const known = this.#buckets.get(name);
    if (known === undefined) return 0;
    const tokens = refilled(known, this.#clock.now(), limit);
    if (tokens >= limit.burst) this.#buckets.delete(name);
    return tokens < 1 ? waitMs(tokens, limit) : 0;
  }

  /** True if something was taken and is not back yet. */
  knows(name: string): boolean {
    return this.#buckets.has(name);
  }

  #filled(name: string, limit: RateLimit): Bucket {
    const now = this.#clock.now();
    const known = this.#buckets.get(name);
    this.#buckets.delete(name);
    const bucket = { tokens: refilled(known, now, limit), atMs: now };
    this.#buckets.set(name, bucket);
    if (this.#buckets.size > this.#maxBuckets) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest);
        break;
      }
    }
    return bucket;
  }
}

/** A bucket that nobody used is full; a clock that goes back fills nothing. */
function refilled(bucket: Bucket | undefined, now: number, limit: RateLimit): number {
  if (bucket === undefined) return limit.burst;
  const gained = (Math.max(0, now - bucket.atMs) / 1000) * limit.perSecond;
  return Math.min(limit.burst, bucket.tokens + gained);
}

function waitMs(tokens: number, limit: RateLimit): number {
  return Math.max(1, ((1 - tokens) / limit.perSecond) * 1000);
}
