/** What every limiter holds to. */
import type { RateLimiter } from "@devmesh/mesh/interceptors";
import { expect } from "chai";

/** How the tests get limiters. */
export interface RateLimiterBed {
  /** A limiter that has counted nothing. */
  fresh(): Promise<RateLimiter>;
  /** The same buckets as another replica has them. Absent: they are not shared. */
  again?(): Promise<RateLimiter>;
  /** Lets this time pass for all buckets. */
  pass(ms: number): Promise<void>;
}

/** So slow that nothing comes back while a test runs. */
const slow = { perSecond: 0.01, burst: 5 };

/** Declares the tests. */
export function rateLimiterSuite({ fresh, again, pass }: RateLimiterBed): void {
  let limiter: RateLimiter;
  beforeEach(async () => {
    limiter = await fresh();
  });

  /** How many of so many calls, one after the other, get through. */
  const through = async (calls: number, limit = slow, name = "a") => {
    let count = 0;
    for (let i = 0; i < calls; i++) if ((await limiter.take(name, limit)) === 0) count += 1;
    return count;
  };

  it("lets a burst through, then says how long to wait", async () => {
    expect(await through(5)).to.equal(5);
    const waitMs = await limiter.take("a", slow);
    expect(waitMs).to.be.greaterThan(50_000).and.at.most(100_000);
  });

  it("has a bucket for each name", async () => {
    expect(await through(9)).to.equal(5);
    expect(await through(9, slow, "a/ü'\0")).to.equal(5);
  });

  it("gives back what the time brings, and never more than the burst", async () => {
    expect(await through(5)).to.equal(5);
    await pass(250_000);
    expect(await through(9)).to.equal(2);
    await pass(3_600_000);
    expect(await through(9)).to.equal(5);
  });

  it("lets through exactly the burst of calls that come at once", async () => {
    const waits = await Promise.all(
      Array.from({ length: 40 }, async () => limiter.take("a", { perSecond: 0.01, burst: 13 })),
    );
    expect(waits.filter((ms) => ms === 0)).to.have.length(13);
  });

  it("counts by another limit as soon as it changes", async () => {
    expect(await through(9)).to.equal(5);
    await pass(1);
    expect(await limiter.take("a", { perSecond: 1e6, burst: 50 })).to.equal(0);
  });

  if (again === undefined) return;

  it("lets through no more than the limit where replicas share it", async () => {
    const other = await again();
    const limit = { perSecond: 0.01, burst: 13 };
    const replicas = [limiter, other];
    const waits = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => replicas[i % 2]?.take("a", limit)),
    );
    expect(waits.filter((ms) => ms === 0)).to.have.length(13);
  });

  it("takes chunks that stay within the limit", async () => {
    const other = await again();
    const limit = { perSecond: 500, burst: 200 };
    const replicas = [limiter, other];
    const startedAt = performance.now();
    let count = 0;
    for (let i = 0; i < 600; i++) if ((await replicas[i % 2]?.take("a", limit)) === 0) count += 1;
    const seconds = (performance.now() - startedAt) / 1000;
    expect(count).to.be.at.least(200 - 2 * 20);
    expect(count).to.be.at.most(200 + limit.perSecond * seconds + 1);
  });
}
