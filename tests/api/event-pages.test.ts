/** Shared pages: one read for many, never a stale "nothing", bounded, and gone with the watchers. */
import { create } from "@bufbuild/protobuf";
import { type JobEvent, JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { EventPages } from "../../services/api/streams/event-pages.ts";
import { reasonOf } from "./bed.ts";

function log(seq: number, bytes = 1): JobEvent {
  const value = { stream: LogStream.STDOUT, data: new Uint8Array(bytes) };
  return create(JobEventSchema, { seq, kind: { case: "log", value } });
}

/** A store whose reads end when the test says so. */
class HeldStore {
  readonly reads: { from: number; answer: (events: JobEvent[]) => void; fail: () => void }[] = [];

  readEvents(_id: string, from: number): Promise<JobEvent[]> {
    return new Promise((resolve, reject) => {
      const fail = () => reject(new DevmeshError("UNAVAILABLE", "away"));
      this.reads.push({ from, answer: resolve, fail });
    });
  }
}

describe("event pages", () => {
  let store: HeldStore;
  let pages: EventPages;
  beforeEach(() => {
    store = new HeldStore();
    pages = new EventPages({ store, maxBytes: 4_000 });
  });

  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it("serve all who ask for one number by one read", async () => {
    using one = pages.open("job");
    using two = pages.open("job");
    const both = [one.read(1), two.read(1)];
    store.reads[0]?.answer([log(1)]);
    expect((await Promise.all(both)).map(([event]) => event?.seq)).to.deep.equal([1, 1]);
    expect((await two.read(1)).length).to.equal(1);
    expect(store.reads.length).to.equal(1);
  });

  it("ask again, once for all, where a read that began earlier found nothing", async () => {
    using one = pages.open("job");
    using two = pages.open("job");
    using three = pages.open("job");
    const first = one.read(5);
    // What woke these two may have come after the first read looked.
    const others = [two.read(5), three.read(5)];
    store.reads[0]?.answer([]);
    expect(await first).to.deep.equal([]);
    await turn();
    expect(store.reads.length).to.equal(2);
    store.reads[1]?.answer([log(5)]);
    expect((await Promise.all(others)).map(([event]) => event?.seq)).to.deep.equal([5, 5]);
    expect(store.reads.length).to.equal(2);
  });

  it("never keep more than their bound, the oldest go first", async () => {
    using one = pages.open("job");
    using _two = pages.open("job");
    for (let from = 1; from <= 10; from++) {
      const reading = one.read(from);
      store.reads.at(-1)?.answer([log(from, 1_000)]);
      await reading;
      expect(pages.bytes).to.be.at.most(4_000);
    }
    await one.read(10);
    expect(store.reads.length).to.equal(10);
    void one.read(1);
    expect(store.reads.length).to.equal(11);
  });

  it("are forgotten with the last watcher, and not kept for one alone", async () => {
    const one = pages.open("job");
    {
      using two = pages.open("job");
      const reading = two.read(1);
      store.reads[0]?.answer([log(1)]);
      await reading;
      expect(pages.bytes).to.be.greaterThan(0);
    }
    one[Symbol.dispose]();
    expect(pages.bytes).to.equal(0);
    using alone = pages.open("job");
    const reading = alone.read(1);
    store.reads.at(-1)?.answer([log(1)]);
    await reading;
    expect([store.reads.length, pages.bytes]).to.deep.equal([2, 0]);
  });

  it("tell all who wait of a failure, and try again after it", async () => {
    using one = pages.open("job");
    using two = pages.open("job");
    const both = [reasonOf(one.read(1)), reasonOf(two.read(1))];
    store.reads[0]?.fail();
    expect(await Promise.all(both)).to.deep.equal(["UNAVAILABLE", "UNAVAILABLE"]);
    const again = one.read(1);
    store.reads[1]?.answer([log(1)]);
    expect((await again).length).to.equal(1);
  });
});
