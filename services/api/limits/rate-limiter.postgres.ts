/**
 * Token buckets that all replicas share, in Postgres. A replica takes calls
 * out of the shared bucket in chunks and serves them from memory, so that a
 * caller costs a round trip for every chunk and none while it is refused.
 *
 * Tolerance: a chunk is a tenth of the burst or of a second's calls, the
 * smaller, 1 at least, and is given up after a second. What leaves the shared
 * bucket is never more than the limit: a caller that spreads its calls over
 * replicas may lose a chunk on each and gains none.
 */
import type { RateLimit, RateLimiter } from "@devmesh/mesh/interceptors";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";

const queries = new PostgresQueries("limits", {
  // Makes the bucket, or fills it for the time that passed, and takes what is
  // whole in it, a chunk at most. No row: somebody else made it this moment.
  take: `
    WITH made AS (
      INSERT INTO rate_buckets (name, tokens, updated_at)
      VALUES ($1, $3::float8 - $4::float8, clock_timestamp())
      ON CONFLICT (name) DO NOTHING
      RETURNING $4::float8 AS taken, tokens
    ), filled AS (
      SELECT name, least($3::float8, tokens + $2::float8
        * greatest(0, extract(epoch FROM clock_timestamp() - updated_at)::float8)) AS tokens
      FROM rate_buckets WHERE name = $1 FOR UPDATE
    ), used AS (
      UPDATE rate_buckets b
      SET tokens = f.tokens - least($4::float8, floor(f.tokens)), updated_at = clock_timestamp()
      FROM filled f WHERE b.name = f.name
      RETURNING least($4::float8, floor(f.tokens)) AS taken, b.tokens
    )
    SELECT taken, tokens FROM made UNION ALL SELECT taken, tokens FROM used`,
  forget: `
    DELETE FROM rate_buckets WHERE name IN (
      SELECT name FROM rate_buckets WHERE updated_at < now() - interval '1 day' LIMIT 1000)`,
});

/** How long a chunk may be used, in milliseconds. */
const chunkTtlMs = 1_000;

/** How often buckets that nobody uses are deleted, in milliseconds. */
const forgetEveryMs = 600_000;

/** Names that are remembered in memory at most. */
const maxNames = 10_000;

/** What this replica knows of one shared bucket. */
interface Share {
  /** What it was counted by: after a change it counts anew. */
  limit: RateLimit;
  /** Calls that were taken and not used. */
  left: number;
  /** When these are given up. */
  leftUntilMs: number;
  /** Until when the shared bucket is known to be empty. */
  emptyUntilMs: number;
  /** The round trip that is under way. */
  asking: Promise<void> | undefined;
}

/** What the limiter needs. */
export interface PostgresRateLimiterOptions {
  /** Opened with the migrations of `migrations/postgres`; who opened it closes it. */
  readonly pool: Pool;
  /** For what is in memory; the shared buckets have the server's clock. */
  readonly clock: Clock;
}

/** Buckets in a table, chunks in memory. */
export class PostgresRateLimiter implements RateLimiter {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #shares = new Map<string, Share>();
  #forgotAtMs: number;

  constructor({ pool, clock }: PostgresRateLimiterOptions) {
    this.#pool = pool;
    this.#clock = clock;
    this.#forgotAtMs = clock.now();
  }

  async take(name: string, limit: RateLimit): Promise<number> {
    const share = this.#share(name, limit);
    for (;;) {
      const now = this.#clock.now();
      if (share.left > 0 && now < share.leftUntilMs) {
        share.left -= 1;
        return 0;
      }
      if (now < share.emptyUntilMs) return share.emptyUntilMs - now;
      share.asking ??= this.#ask(name, limit, share).finally(() => {
        share.asking = undefined;
      });
      await share.asking;
    }
  }

  async #ask(name: string, limit: RateLimit, share: Share): Promise<void> {
    const { perSecond, burst } = limit;
    const chunk = Math.max(1, Math.floor(Math.min(burst, perSecond) / 10));
    const values = [name, perSecond, burst, chunk];
    const row = await queries.row<{ taken: number; tokens: number }>(this.#pool, "take", values);
    if (row === undefined) return;
    const now = this.#clock.now();
    share.left = row.taken;
    share.leftUntilMs = now + chunkTtlMs;
    if (row.taken === 0) {
      share.emptyUntilMs = now + Math.max(1, ((1 - row.tokens) / perSecond) * 1000);
    }
    this.#forget();
  }

  #share(name: string, limit: RateLimit): Share {
    const known = this.#shares.get(name);
    const share = known !== undefined && isSame(known.limit, limit) ? known : newShare(limit);
    this.#shares.delete(name);
    this.#shares.set(name, share);
    if (this.#shares.size > maxNames) {
      for (const oldest of this.#shares.keys()) {
        this.#shares.delete(oldest);
        break;
      }
    }
    return share;
  }

  #forget(): void {
    if (this.#clock.now() - this.#forgotAtMs < forgetEveryMs) return;
    this.#forgotAtMs = this.#clock.now();
    // It is housekeeping: what stays is deleted the next time.
    queries.rows(this.#pool, "forget").catch(() => {});
  }
}

function isSame(a: RateLimit, b: RateLimit): boolean {
  return a.perSecond === b.perSecond && a.burst === b.burst;
}

function newShare(limit: RateLimit): Share {
  return { limit, left: 0, leftUntilMs: 0, emptyUntilMs: 0, asking: undefined };
}
