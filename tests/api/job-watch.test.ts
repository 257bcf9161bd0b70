/** Watching: every event once, from any number; signs of life; and no look more than needed. */
import { create } from "@bufbuild/protobuf";
import { type JobEvent, JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { TestClock, TestRandom } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { JobSignals } from "../../services/api/jobs/job-signals.ts";
import { MemoryJobStore } from "../../services/api/jobs/job-store.memory.ts";
import { accept, claim } from "../../services/api/jobs/job-store.suite.bed.ts";
import { JobWatch } from "../../services/api/jobs/job-watch.ts";
import { settled } from "../settled.ts";
import { reasonOf } from "./bed.ts";

const keepaliveMs = 15_000;

/** A store that counts looks, and whose hints can be lost. */
class CountingStore extends MemoryJobStore {
  looks = 0;
  reads = 0;
  broken = false;
  silent = false;
  listeners = 0;

  override async get(id: string) {
    this.looks += 1;
    if (this.broken) throw new DevmeshError("UNAVAILABLE", "away");
    return super.get(id);
  }

  override async readEvents(...args: Parameters<MemoryJobStore["readEvents"]>) {
    this.reads += 1;
    if (this.broken) throw new DevmeshError("UNAVAILABLE", "away");
    return super.readEvents(...args);
  }

  override onChange(listener: (jobId: string) => void) {
    this.listeners += 1;
    const stop = super.onChange((jobId) => this.silent || listener(jobId));
    return () => {
      this.listeners -= 1;
      stop();
    };
  }
}

describe("job watch", () => {
  let clock: TestClock;
  let store: CountingStore;
  let signals: JobSignals;
  let watch: JobWatch;
  let gone: AbortController;
  beforeEach(() => {
    clock = new TestClock();
    store = new CountingStore({ clock, random: new TestRandom() });
    signals = new JobSignals(store, clock);
    watch = new JobWatch({ store, signals, clock, keepaliveMs });
    gone = new AbortController();
  });
  afterEach(() => {
    gone.abort(new DevmeshError("CANCELLED", "the test is over"));
    signals.close();
  });

  /** A running job, and how to write its log and end it. */
  async function running() {
    const { id: jobId } = await accept(store);
    const [claimed] = await claim(store);
    if (claimed === undefined) throw new Error("nothing to claim");
    const lease = { jobId, epoch: claimed.epoch };
    let seq = claimed.nextSeq;
    return {
      id: jobId,
      write: async (text: string) => {
        const value = { stream: LogStream.STDOUT, data: Buffer.from(text) };
        const event = create(JobEventSchema, { seq, kind: { case: "log", value } });
        seq += 1;
        await store.append(lease, [event]);
      },
      cancel: () => store.requestCancel(jobId, { by: "tok_1", detail: "" }),
      release: () => store.release(lease, ""),
    };
  }

  /** Follows a job; what it sees, and how it ends. */
  function follow(id: string, from = 0, signal = gone.signal) {
    const seen: (number | "alive")[] = [];
    const end = reasonOf(
      (async () => {
        for await (const event of watch.events(id, from, signal)) seen.push(nameOf(event));
      })(),
    );
    return { seen, end };
  }

  const nameOf = (event: JobEvent | undefined) => event?.seq ?? "alive";

  it("sees what is there, then what comes, until the end", async () => {
    const job = await running();
    const { seen, end } = follow(job.id);
    await settled();
    expect(seen).to.deep.equal([1, 2]);
    await job.write("a");
    await settled();
    expect(seen).to.deep.equal([1, 2, 3]);
    await job.cancel();
    await job.release();
    expect(await end).to.equal("ok");
    expect(seen).to.deep.equal([1, 2, 3, 4]);
  });

  it("starts at any number, and waits for one that is not there yet", async () => {
    const job = await running();
    const { seen } = follow(job.id, 4);
    await settled();
    expect(seen, "a sign that it was let in").to.deep.equal(["alive"]);
    for (const text of ["a", "b", "c"]) await job.write(text);
    await settled();
    expect(seen).to.deep.equal(["alive", 4, 5]);
  });

  it("ends at once behind the end of an ended job", async () => {
    const { id } = await accept(store);
    await store.requestCancel(id, { by: "tok_1", detail: "" });
    const { seen, end } = follow(id, 9);
    expect([await end, seen]).to.deep.equal(["ok", []]);
  });

  it("ends when the job ends before the number that was asked for", async () => {
    const { id } = await accept(store);
    const { end } = follow(id, 9);
    await settled();
    await store.requestCancel(id, { by: "tok_1", detail: "" });
    expect(await end).to.equal("ok");
  });

  it("refuses a job that is not there", async () => {
    expect(await follow("job_0").end).to.equal("NOT_FOUND");
  });

  it("reads a log of many pages, each event once", async () => {
    const job = await running();
    for (let i = 0; i < 1_200; i++) await job.write("x");
    const { seen } = follow(job.id);
    await settled(50);
    expect(seen).to.deep.equal(Array.from({ length: 1_202 }, (_, i) => i + 1));
  });

  it("tells why it ended where that was not the job's end", async () => {
    const { id } = await accept(store);
    const { end } = follow(id);
    await settled();
    gone.abort(new DevmeshError("DRAINING", "the server stops"));
    expect(await end).to.equal("DRAINING");
  });

  it("shows that it lives when nothing happens, and not before", async () => {
    const { id } = await accept(store);
    const { seen } = follow(id);
    await settled();
    for (let ms = 0; ms < 2 * keepaliveMs; ms += 500) {
      clock.advance(500);
      await settled(3);
    }
    expect(seen).to.deep.equal([1, "alive", "alive"]);
  });

  it("waits for its keepalive from the last event on", async () => {
    const job = await running();
    const { seen } = follow(job.id);
    await settled();
    clock.advance(keepaliveMs - 1);
    await job.write("a");
    await settled();
    clock.advance(keepaliveMs - 1);
    await settled();
    expect(seen).to.deep.equal([1, 2, 3]);
    clock.advance(1);
    await settled();
    expect(seen).to.deep.equal([1, 2, 3, "alive"]);
  });

  it("sees events whose hint was lost, within a second", async () => {
    const job = await running();
    const { seen } = follow(job.id);
    await settled();
    store.silent = true;
    await job.write("a");
    await settled();
    expect(seen).to.deep.equal([1, 2]);
    clock.advance(1_000);
    await settled();
    expect(seen).to.deep.equal([1, 2, 3]);
  });

  it("misses nothing that happens between its look and its wait", async () => {
    const job = await running();
    store.silent = true;
    const { seen } = follow(job.id);
    for (let i = 0; i < 20; i++) {
      await job.write("x");
      for (let turn = 0; turn < i % 5; turn++) await Promise.resolve();
    }
    for (let i = 0; i < 3; i++) {
      await settled();
      clock.advance(1_000);
    }
    await settled();
    expect(seen).to.deep.equal(Array.from({ length: 22 }, (_, i) => i + 1));
  });

  it("costs one look a second for a job, however many watch it", async () => {
    const { id } = await accept(store);
    for (let i = 0; i < 1_000; i++) follow(id);
    await settled();
    // The first look wakes all once: nobody knows yet what they know.
    clock.advance(1_000);
    await settled();
    store.looks = 0;
    store.reads = 0;
    for (let i = 0; i < 10; i++) {
      clock.advance(1_000);
      await settled();
    }
    expect({ looks: store.looks, reads: store.reads }).to.deep.equal({ looks: 10, reads: 0 });
  });

  it("reads new events once for all who wait for them, and for late comers at their numbers", async () => {
    const job = await running();
    const watchers = Array.from({ length: 1_000 }, () => follow(job.id));
    await settled();
    store.looks = 0;
    store.reads = 0;
    await job.write("a");
    await settled(20);
    for (const { seen } of watchers) expect(seen).to.deep.equal([1, 2, 3]);
    // One that finds the event, and one behind it that finds no more.
    expect(store.reads).to.be.at.most(3);
    expect(store.looks).to.equal(0);
    store.reads = 0;
    const late = Array.from({ length: 100 }, () => follow(job.id));
    await settled(20);
    for (const { seen } of late) expect(seen).to.deep.equal([1, 2, 3]);
    expect(store.reads).to.be.at.most(3);
  });

  it("sheds a reader that stops reading, tells it where to come back, and spares the others", async () => {
    const job = await running();
    await job.write("a");
    const slow = watch.events(job.id, 2, gone.signal);
    const { seen } = follow(job.id);
    await settled();
    expect((await slow.next()).value?.seq).to.equal(2);
    clock.advance(30_001);
    const shed = await slow.next().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(shed).to.include({ reason: "UNAVAILABLE" });
    expect((shed as DevmeshError).metadata).to.deep.equal({ resume_from: "3" });
    await job.write("b");
    await settled();
    expect(seen.filter((what) => what !== "alive")).to.deep.equal([1, 2, 3, 4]);
  });

  it("tells where to go on when the server stops", async () => {
    const job = await running();
    const events = watch.events(job.id, 1, gone.signal);
    await events.next();
    await events.next();
    const waiting = events.next().then(
      () => undefined,
      (error: unknown) => error,
    );
    await settled();
    gone.abort(new DevmeshError("DRAINING", "the server stops"));
    expect(await waiting).to.include({ reason: "DRAINING" });
    expect(((await waiting) as DevmeshError).metadata).to.deep.equal({ resume_from: "3" });
  });

  it("looks no more once nobody watches", async () => {
    const { id } = await accept(store);
    const { end } = follow(id);
    await settled();
    gone.abort(new DevmeshError("CANCELLED", "away"));
    await end;
    store.looks = 0;
    for (let i = 0; i < 5; i++) {
      clock.advance(1_000);
      await settled();
    }
    expect(store.looks).to.equal(0);
    signals.close();
    expect(store.listeners).to.equal(0);
  });

  it("tells its watchers when the store is away", async () => {
    const { id } = await accept(store);
    const { end } = follow(id);
    await settled();
    store.broken = true;
    clock.advance(1_000);
    expect(await end).to.equal("UNAVAILABLE");
  });
});

describe("job signals", () => {
  it("wake a listener once for what happened before its wait", async () => {
    const clock = new TestClock();
    const store = new MemoryJobStore({ clock, random: new TestRandom() });
    const signals = new JobSignals(store, clock);
    const { signal } = new AbortController();
    using listener = signals.listenToAll();
    await accept(store);
    await accept(store);
    await listener.wait(60_000, signal);
    let woken = false;
    void listener.wait(60_000, signal).then(() => {
      woken = true;
    });
    await settled();
    expect(woken).to.equal(false);
    clock.advance(1_000);
    await settled();
    expect(woken).to.equal(true);
    signals.close();
  });
});
