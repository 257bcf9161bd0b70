/** Every rate limiter passes one suite. */
import { openPostgres } from "@devmesh/mesh/database";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { Pool } from "pg";
import { MemoryRateLimiter } from "../../services/api/limits/rate-limiter.memory.ts";
import { PostgresRateLimiter } from "../../services/api/limits/rate-limiter.postgres.ts";
import { rateLimiterSuite } from "../../services/api/limits/rate-limiter.suite.ts";
import { migrationsOf } from "../../services/api/stores.ts";
import { postgresUrl } from "./store-places.ts";

describe("rate limiter: memory", () => {
  let clock = new TestClock();
  rateLimiterSuite({
    fresh: async () => {
      clock = new TestClock();
      return new MemoryRateLimiter({ clock });
    },
    pass: async (ms) => clock.advance(ms),
  });

  it("forgets what was not used for the longest time, and so stays small", () => {
    const limiter = new MemoryRateLimiter({ clock, maxBuckets: 3 });
    const limit = { perSecond: 1, burst: 1 };
    for (const name of ["a", "b", "c", "a", "d"]) limiter.take(name, limit);
    expect(limiter.size).to.equal(3);
    // `b` was forgotten, and is full again; `a` was used since, and is known.
    expect(limiter.peek("a", limit)).to.be.greaterThan(0);
    expect(limiter.peek("b", limit)).to.equal(0);
  });
});

describe("rate limiter: postgres", () => {
  let pool: Pool;
  let clock = new TestClock();
  before(async function () {
    const url = await postgresUrl(this);
    const migrations = migrationsOf("postgres");
    pool = await openPostgres({ url, schema: "rate_limits", migrations });
  });
  after(() => pool?.end());
  rateLimiterSuite({
    fresh: async () => {
      await pool.query("TRUNCATE rate_buckets");
      clock = new TestClock();
      return new PostgresRateLimiter({ pool, clock });
    },
    again: async () => new PostgresRateLimiter({ pool, clock }),
    pass: async (ms) => {
      clock.advance(ms);
      const text = "UPDATE rate_buckets SET updated_at = updated_at - $1 * interval '1 ms'";
      await pool.query(text, [ms]);
    },
  });

  it("asks the server once for a chunk, and not at all while it refuses", async () => {
    let asked = 0;
    const query = (...args: Parameters<Pool["query"]>) => {
      asked += 1;
      return pool.query(...args);
    };
    const counting = { query } as unknown as Pool;
    await pool.query("TRUNCATE rate_buckets");
    const limiter = new PostgresRateLimiter({ pool: counting, clock: new TestClock() });
    const limit = { perSecond: 1000, burst: 100 };
    for (let i = 0; i < 10; i++) expect(await limiter.take("a", limit)).to.equal(0);
    expect(asked).to.equal(1);
    const hard = { perSecond: 0.001, burst: 1 };
    for (let i = 0; i < 50; i++) await limiter.take("b", hard);
    expect(asked).to.equal(3);
  });
});
