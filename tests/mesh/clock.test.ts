import { mock } from "node:test";
import { SortableIds, SystemClock, TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";

describe("SystemClock", () => {
  const clock = new SystemClock();
  const never = 2 ** 31 - 1;

  it("does not start to sleep for a signal that has aborted", async () => {
    const error = await clock.sleep(never, AbortSignal.abort("over")).catch((e: unknown) => e);
    expect(error).to.equal("over");
  });

  it("wakes at once when the signal aborts, with its reason", async () => {
    const abort = new AbortController();
    const sleep = clock.sleep(never, abort.signal).catch((e: unknown) => e);
    abort.abort("enough");
    expect(await sleep).to.equal("enough");
  });

  it("sleeps longer than one timer of Node can be set for", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      let woken = false;
      const sleep = clock.sleep(never * 2 + 5).then(() => {
        woken = true;
      });
      for (const ms of [never, never, 4]) {
        mock.timers.tick(ms);
        await Promise.resolve();
        expect(woken).to.equal(false);
      }
      mock.timers.tick(1);
      await sleep;
    } finally {
      mock.timers.reset();
    }
  });

  it("wakes at once from a sleep that should be over already", async () => {
    const warned: string[] = [];
    const onWarning = ({ name }: Error) => warned.push(name);
    process.on("warning", onWarning);
    try {
      await clock.sleep(-5_000);
      // Warnings are told in a later turn.
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.off("warning", onWarning);
    }
    expect(warned).to.deep.equal([]);
  });

  it("leaves the signal alone once it has woken", async () => {
    const abort = new AbortController();
    await clock.sleep(0, abort.signal);
    abort.abort(new Error("nobody waits for this"));
  });
});

describe("TestClock", () => {
  it("wakes nobody before the time, everybody at it", async () => {
    const clock = new TestClock(0);
    let woken = false;
    const sleep = clock.sleep(10).then(() => {
      woken = true;
    });
    clock.advance(9);
    await Promise.resolve();
    expect({ woken, sleeping: clock.sleeping }).to.deep.equal({ woken: false, sleeping: 1 });
    clock.advance(1);
    await sleep;
    expect({ woken, sleeping: clock.sleeping }).to.deep.equal({ woken: true, sleeping: 0 });
  });

  it("does not wake twice who was due and cancelled", async () => {
    const clock = new TestClock(0);
    const abort = new AbortController();
    const sleep = clock.sleep(10, abort.signal);
    clock.advance(10);
    abort.abort("late");
    await sleep;
  });
});

describe("SortableIds of two processes", () => {
  it("differ within the same millisecond", () => {
    const clock = new TestClock();
    const [here, there] = [new SortableIds(clock), new SortableIds(clock)];
    const made = Array.from({ length: 200 }, () => [here.next("job"), there.next("job")]).flat();
    expect(new Set(made).size).to.equal(made.length);
  });

  it("sort by the time of making", () => {
    const clock = new TestClock();
    const early = new SortableIds(clock).next("job");
    clock.advance(1);
    expect(early < new SortableIds(clock).next("job")).to.equal(true);
  });
});
