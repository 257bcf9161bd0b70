import { CountedIds, mapStream, SortableIds, TestClock, tapStream } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import fc from "fast-check";

describe("TestClock", () => {
  it("wakes who is due, the earliest first, and nobody else", async () => {
    const clock = new TestClock(0);
    const woken: number[] = [];
    const sleeps = [30, 10, 20].map((ms) => clock.sleep(ms).then(() => woken.push(ms)));
    clock.advance(25);
    await Promise.all(sleeps.slice(1));
    expect(woken).to.deep.equal([10, 20]);
    expect(clock.sleeping).to.equal(1);
    clock.advance(5);
    await Promise.all(sleeps);
    expect(clock.now()).to.equal(30);
  });

  it("rejects with the signal's reason", async () => {
    const clock = new TestClock();
    const abort = new AbortController();
    const sleep = clock.sleep(10, abort.signal).catch((error: unknown) => error);
    abort.abort("enough");
    expect(await sleep).to.equal("enough");
    expect(clock.sleeping).to.equal(0);
    const late = await clock.sleep(10, abort.signal).catch((error: unknown) => error);
    expect(late).to.equal("enough");
  });
});

describe("SortableIds", () => {
  it("makes unique ids that sort by the order of their making, also when the clock goes back", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 50 }), { maxLength: 200 }), (steps) => {
        const clock = new TestClock();
        const ids = new SortableIds(clock);
        const made = steps.map((step) => {
          clock.advance(step);
          return ids.next("x");
        });
        expect(made).to.deep.equal(made.toSorted());
        expect(new Set(made).size).to.equal(made.length);
        for (const id of made) expect(id).to.match(/^x_[0-9abcdefghjkmnpqrstvwxyz]{26}$/);
      }),
    );
  });

  it("has the milliseconds in its first ten digits", () => {
    const digits = "0123456789abcdefghjkmnpqrstvwxyz";
    const id = new SortableIds(new TestClock(1_700_000_000_123)).next("job");
    const ms = [...id.slice(4, 14)].reduce((sum, digit) => sum * 32 + digits.indexOf(digit), 0);
    expect(ms).to.equal(1_700_000_000_123);
  });

  it("counts in tests", () => {
    const ids = new CountedIds();
    expect([ids.next("a"), ids.next("b")]).to.deep.equal(["a_1", "b_2"]);
  });
});

describe("streams", () => {
  async function* numbers(log: string[]) {
    try {
      yield 1;
      yield 2;
    } finally {
      log.push("closed");
    }
  }

  async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
    const all: T[] = [];
    for await (const message of messages) all.push(message);
    return all;
  }

  it("convert each message, and close the source when that fails", async () => {
    const log: string[] = [];
    expect(await collect(mapStream(numbers(log), (n) => n * 2))).to.deep.equal([2, 4]);
    const failing = mapStream(numbers(log), () => {
      throw new Error("no");
    });
    const error = await collect(failing).catch((e: unknown) => e);
    expect(error).to.have.property("message", "no");
    expect(log).to.deep.equal(["closed", "closed"]);
  });

  it("tell once how they ended", async () => {
    const log: string[] = [];
    const end = (how: string) => void log.push(how);
    await collect(tapStream(numbers(log), { end }));
    for await (const _ of tapStream(numbers(log), { end })) break;
    const failing = mapStream(numbers(log), () => {
      throw new Error("no");
    });
    await collect(tapStream(failing, { end })).catch(() => {});
    expect(log).to.deep.equal(["closed", "done", "closed", "left", "closed", "failed"]);
  });
});
