import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { WorkerHost } from "../../services/inference/providers/embedded/worker-host.ts";
import { errorOf, reasonOf } from "../../services/inference/providers/provider.suite.ts";
import { settled } from "../settled.ts";

const module = new URL("./worker-host.fixture.ts", import.meta.url);

describe("worker host", function () {
  // Starting a thread takes long on a busy machine.
  this.timeout(60_000);
  let clock: TestClock;
  let host: WorkerHost<string, string>;

  beforeEach(() => {
    clock = new TestClock();
    host = new WorkerHost({ module, workerData: {}, clock, maxQueued: 2, abortGraceMs: 10 });
  });

  afterEach(() => host.close());

  async function run(request: string, signal?: AbortSignal): Promise<string[]> {
    const pieces: string[] = [];
    for await (const piece of host.run(request, { signal })) pieces.push(piece);
    return pieces;
  }

  /** Runs a request until its first piece, aborts it, and waits for its end. */
  async function runAndAbort(request: string): Promise<void> {
    const caller = new AbortController();
    const pieces = host.run(request, { signal: caller.signal });
    await pieces.next();
    caller.abort();
    expect(await reasonOf(() => pieces.next())).to.equal("CANCELLED");
  }

  it("keeps one worker for requests that follow each other", async () => {
    expect(await run("a")).to.deep.equal(["a", "1"]);
    expect(await run("b")).to.deep.equal(["b", "2"]);
  });

  it("hands on the reason of a failure and goes on", async () => {
    const error = await errorOf(() => run("fail"));
    expect(error.reason).to.equal("MODEL_NOT_FOUND");
    expect(error.metadata).to.deep.include({ model: "x" });
    expect(await run("a")).to.deep.equal(["a", "2"]);
  });

  it("starts a new worker after the old one died, also for those that waited", async () => {
    const dead = reasonOf(() => run("die"));
    const waited = run("a");
    expect(await dead).to.equal("PROVIDER_UNAVAILABLE");
    expect(await waited).to.deep.equal(["a", "1"]);
  });

  it("goes on with the same worker after an abort that it obeys", async () => {
    await runAndAbort("hang");
    expect(await run("a")).to.deep.equal(["a", "2"]);
  });

  it("ends a worker that does not obey an abort in time", async () => {
    await runAndAbort("block");
    const next = run("a");
    clock.advance(10);
    expect(await next).to.deep.equal(["a", "1"]);
  });

  it("refuses what does not fit its queue", async () => {
    const first = host.run("hang", {});
    await first.next();
    const waiting = [reasonOf(() => run("a")), reasonOf(() => run("b"))];
    expect(await reasonOf(() => run("c"))).to.equal("RATE_LIMITED");
    const hung = reasonOf(() => first.next());
    await host.close();
    expect(await Promise.all([...waiting, hung])).to.deep.equal(
      Array.from({ length: 3 }, () => "PROVIDER_UNAVAILABLE"),
    );
  });

  it("lets urgent requests go first, and drops those whose caller left", async () => {
    const first = host.run("hang", {});
    await first.next();
    const order: string[] = [];
    const caller = new AbortController();
    const left = reasonOf(() => run("left", caller.signal));
    const slow = run("slow").then(() => order.push("slow"));
    caller.abort();
    expect(await left).to.equal("CANCELLED");
    const urgent = (async () => {
      for await (const _ of host.run("urgent", { urgent: true }));
      order.push("urgent");
    })();
    // Asked but not yet begun: its first step puts it into the queue.
    await first.return(undefined);
    await Promise.all([slow, urgent]);
    expect(order).to.deep.equal(["urgent", "slow"]);
  });

  it("ends an idle worker and starts another when it is needed", async () => {
    expect(await run("a")).to.deep.equal(["a", "1"]);
    clock.advance(300_000);
    await settled();
    expect(await run("b")).to.deep.equal(["b", "1"]);
  });
});
