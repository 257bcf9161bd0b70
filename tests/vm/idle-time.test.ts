import { expect } from "chai";
import { IdleTime } from "../../services/vm/drivers/qemu/idle-time.ts";
import { until } from "../e2e/wait.ts";

const never = new AbortController().signal;

/** Work in the background, and what was done with it. */
function work() {
  const done: string[] = [];
  const hold = () => void done.push("hold");
  const letGo = () => void done.push("go");
  return { done, work: { hold, letGo } };
}

describe("idle time", () => {
  it("is there at first, not while somebody waits, and again after a rest", async () => {
    const idle = new IdleTime(1);
    await idle.begins(never);
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const both = Promise.all([idle.busy(() => first.promise), idle.busy(() => second.promise)]);
    let begun = false;
    const begins = idle.begins(never).then(() => {
      begun = true;
    });
    first.resolve();
    await new Promise((turn) => setImmediate(turn));
    expect(begun).to.equal(false);
    second.resolve();
    await both;
    await begins;
  });

  it("starts its rest anew with each one that somebody waits for", async () => {
    const idle = new IdleTime(1);
    await idle.busy(async () => {});
    const gate = Promise.withResolvers<void>();
    const second = idle.busy(() => gate.promise);
    let begun = false;
    const begins = idle.begins(never).then(() => {
      begun = true;
    });
    // The first one's rest would be over by now.
    await new Promise((later) => setTimeout(later, 20));
    expect(begun).to.equal(false);
    gate.resolve();
    await second;
    await begins;
  });

  it("lets work in the background stand still meanwhile, and go on after it", async () => {
    const idle = new IdleTime(1);
    const { done, work: background } = work();
    const free = idle.share(background);
    expect(done).to.deep.equal([]);
    await idle.busy(async () => expect(done).to.deep.equal(["hold"]));
    await until("it goes on", async () => done.length === 2);
    expect(done).to.deep.equal(["hold", "go"]);
    free();
    await idle.busy(async () => {});
    expect(done).to.deep.equal(["hold", "go", "go"]);
  });

  it("holds work that begins too late, and frees it also in busy time", async () => {
    const idle = new IdleTime(1);
    const { done, work: background } = work();
    await idle.busy(async () => {
      const free = idle.share(background);
      expect(done).to.deep.equal(["hold"]);
      free();
      expect(done).to.deep.equal(["hold", "go"]);
    });
  });

  it("is given up with a signal, and comes after work that failed", async () => {
    const idle = new IdleTime(1);
    const stop = new AbortController();
    const failed = idle.busy(async () => {
      const waits = idle.begins(stop.signal).catch((error: unknown) => error);
      stop.abort(new Error("at its end"));
      expect(await waits).to.have.property("message", "at its end");
      throw new Error("no start");
    });
    expect(await failed.catch((error: unknown) => error)).to.have.property("message", "no start");
    await idle.begins(never);
    expect(await idle.begins(stop.signal).catch(() => "refused")).to.equal("refused");
  });
});
