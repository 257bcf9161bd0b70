/** When work counts as silent, and when it only could not be heard. */
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { SilenceWatch } from "../../services/vm/runner/silence-watch.ts";
import { settled } from "../settled.ts";

describe("SilenceWatch", () => {
  let clock: TestClock;
  let silent = 0;
  const watches: SilenceWatch[] = [];

  beforeEach(() => {
    clock = new TestClock();
    silent = 0;
  });
  afterEach(() => {
    for (const watch of watches.splice(0)) watch.close();
  });

  const watch = (limitMs: number) => {
    const made = new SilenceWatch({ limitMs, clock, onSilent: () => (silent += 1) });
    watches.push(made);
    made.start();
    return made;
  };

  /** Lets time pass in small steps, as it does. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      await settled(2);
    }
  };

  it("tells once, when nothing was written for the limit", async () => {
    watch(10_000);
    await pass(9_900);
    expect(silent).to.equal(0);
    await pass(1_100);
    expect(silent).to.equal(1);
    await pass(30_000);
    expect(silent).to.equal(1);
  });

  it("begins anew with every byte", async () => {
    const heard = watch(10_000);
    for (let i = 0; i < 5; i++) {
      await pass(9_000);
      await heard.hear(Promise.resolve());
    }
    expect(silent).to.equal(0);
    await pass(11_100);
    expect(silent).to.equal(1);
  });

  it("does not count while output is held back", async () => {
    const heard = watch(10_000);
    const taken = Promise.withResolvers<void>();
    const held = heard.hear(taken.promise);
    await pass(60_000);
    expect(silent).to.equal(0);
    taken.resolve();
    await held;
    await pass(11_100);
    expect(silent).to.equal(1);
  });

  it("does not count time in which this process stood still", async () => {
    watch(10_000);
    await settled();
    clock.advance(3_600_000);
    await settled();
    expect(silent).to.equal(0);
    await pass(10_000);
    expect(silent).to.equal(1);
  });

  it("passes the failure of a taker on", async () => {
    const error = await watch(1_000)
      .hear(Promise.reject(new Error("no room")))
      .catch((thrown: unknown) => thrown);
    expect(String(error)).to.contain("no room");
  });

  it("watches nothing without a limit, and nothing after the end", async () => {
    watch(0);
    const ended = watch(1_000);
    ended.close();
    await pass(5_000);
    expect(silent).to.equal(0);
    expect(clock.sleeping).to.equal(0);
  });
});
