/** The retention worker: in short steps, on time, as the setting says now, and past failures. */
import { DevmeshError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { LogRetention } from "../../services/api/streams/retention.ts";
import { settled } from "../settled.ts";

const dayMs = 24 * 60 * 60 * 1000;

/** Jobs that ended so many days before the clock's start, trimmed as a store does. */
class FakeStore {
  readonly #clock: TestClock;
  readonly #startMs: number;
  readonly trimmed: string[] = [];
  asks = 0;
  isAway = false;
  left: { id: string; endedDaysAgo: number }[];

  constructor(clock: TestClock, endedDaysAgo: readonly number[]) {
    this.#clock = clock;
    this.#startMs = clock.now();
    this.left = endedDaysAgo.map((days, i) => ({ id: `job_${i}`, endedDaysAgo: days }));
  }

  async trim({ endedBeforeMs, limit }: { endedBeforeMs: number; limit: number }) {
    this.asks += 1;
    if (this.isAway) throw new DevmeshError("UNAVAILABLE", "away");
    const ageMs = ({ endedDaysAgo }: { endedDaysAgo: number }) =>
      this.#clock.now() - this.#startMs + endedDaysAgo * dayMs;
    const due = this.left.filter((job) => ageMs(job) > endedBeforeMs).slice(0, limit);
    this.left = this.left.filter((job) => !due.includes(job));
    const ids = due.map(({ id }) => id);
    this.trimmed.push(...ids);
    return ids;
  }
}

describe("log retention", () => {
  let clock: TestClock;
  let store: FakeStore;
  let days: number;
  let retention: LogRetention;

  function start(endedDaysAgo: readonly number[], retentionDays: number): void {
    clock = new TestClock();
    store = new FakeStore(clock, endedDaysAgo);
    days = retentionDays;
    retention = new LogRetention({
      store,
      clock,
      logger: silentLogger(),
      retentionDays: () => days,
      intervalMs: 60_000,
    });
    retention.start();
  }
  afterEach(() => retention.close());

  it("trims what ended long enough ago, however many, and nothing else", async () => {
    start([...Array.from({ length: 250 }, () => 31), 29, 1], 30);
    await settled(20);
    expect(store.trimmed.length).to.equal(250);
    expect(store.left.map(({ endedDaysAgo }) => endedDaysAgo)).to.deep.equal([29, 1]);
    expect(store.asks).to.equal(3);
  });

  it("looks again after its interval", async () => {
    start([0.5], 1);
    await settled();
    expect(store.trimmed).to.deep.equal([]);
    clock.advance(0.6 * dayMs);
    await settled();
    expect(store.trimmed).to.deep.equal(["job_0"]);
  });

  it("keeps everything for ever at 0, and begins when the setting changes", async () => {
    start([1_000], 0);
    clock.advance(60_000);
    await settled();
    expect(store.asks).to.equal(0);
    days = 7;
    clock.advance(60_000);
    await settled();
    expect(store.trimmed).to.deep.equal(["job_0"]);
  });

  it("goes on after a failure", async () => {
    start([31], 0);
    await settled();
    store.isAway = true;
    days = 30;
    clock.advance(60_000);
    await settled();
    store.isAway = false;
    expect(store.asks).to.equal(1);
    expect(store.trimmed).to.deep.equal([]);
    clock.advance(60_000);
    await settled();
    expect(store.trimmed).to.deep.equal(["job_0"]);
  });

  it("stops in the middle of a round when it is closed", async () => {
    start(
      Array.from({ length: 1_000 }, () => 31),
      30,
    );
    const closed = retention.close();
    await closed;
    expect(store.asks).to.be.at.most(1);
    clock.advance(60_000);
    await settled();
    expect(store.asks).to.be.at.most(1);
  });
});
