import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { StartGate } from "../../services/vm/drivers/docker/start-gate.ts";

/** A start that ends when it is told to. */
function start() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let isRunning = false;
  return {
    resolve,
    reject,
    run: () => {
      isRunning = true;
      return promise;
    },
    isRunning: () => isRunning,
  };
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "none";
  } catch (error: unknown) {
    return error instanceof DevmeshError ? error.reason : String(error);
  }
}

describe("the gate in front of an engine", () => {
  it("lets so many through, and the next in line when one is done", async () => {
    const gate = new StartGate({ width: 1, line: 2, waitMs: 60_000 });
    const [one, two, three] = [start(), start(), start()];
    const first = gate.pass(one.run);
    const second = gate.pass(two.run);
    const third = gate.pass(three.run);
    await Promise.resolve();
    expect([one, two, three].map((s) => s.isRunning())).to.deep.equal([true, false, false]);
    one.reject(new Error("it did not start"));
    expect(await reasonOf(first)).to.equal("Error: it did not start");
    two.resolve("2");
    expect(await second).to.equal("2");
    three.resolve("3");
    expect(await third).to.equal("3");
    expect(await gate.pass(async () => "4")).to.equal("4");
  });

  it("refuses what the line has no room for, and says when to come again", async () => {
    const gate = new StartGate({ width: 1, line: 1, waitMs: 60_000 });
    const one = start();
    const first = gate.pass(one.run);
    const second = gate.pass(async () => "2");
    const third = gate.pass(async () => "3").catch((error: unknown) => error);
    expect(await third).to.include({ reason: "RATE_LIMITED", retryAfterMs: 1_000 });
    one.resolve("1");
    expect(await Promise.all([first, second])).to.deep.equal(["1", "2"]);
  });

  it("refuses whose turn does not come in time", async () => {
    const gate = new StartGate({ width: 1, line: 8, waitMs: 1 });
    const one = start();
    const first = gate.pass(one.run);
    expect(await reasonOf(gate.pass(async () => "2"))).to.equal("RATE_LIMITED");
    one.resolve("1");
    await first;
    expect(await gate.pass(async () => "3")).to.equal("3");
  });

  it("lets who gives up leave the line", async () => {
    const gate = new StartGate({ width: 1, line: 8, waitMs: 60_000 });
    const one = start();
    const first = gate.pass(one.run);
    const giveUp = new AbortController();
    const second = gate.pass(async () => "2", giveUp.signal);
    const third = gate.pass(async () => "3");
    giveUp.abort();
    expect(await reasonOf(second)).to.equal("CANCELLED");
    expect(await reasonOf(gate.pass(async () => "4", AbortSignal.abort()))).to.equal("CANCELLED");
    one.resolve("1");
    expect(await Promise.all([first, third])).to.deep.equal(["1", "3"]);
  });
});
