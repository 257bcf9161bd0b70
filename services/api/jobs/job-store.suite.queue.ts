/** What decides when a job starts: priority, delays, concurrency keys, queue timeouts, pause. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { JobSpec } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import {
  accept,
  claim,
  history,
  hold,
  type JobStoreBed,
  longMs,
  newId,
  result,
  specWith,
} from "./job-store.suite.bed.ts";
import type { JobStore } from "./job-store.ts";

const { QUEUED, RUNNING, FAILED, CANCELLED } = JobStatus;
const cancel = { by: "tok_1", detail: "" };

/** One of a kind of which `limit` may run at once. */
const keyed = (key: string, limit: number, more: Parameters<typeof specWith>[0] = {}) =>
  specWith({ concurrency: { key, limit }, ...more });

const delayed = (ms: number) => specWith({ startDelay: durationFromMs(ms) });

/** Declares the tests. */
export function queueSuite(bed: JobStoreBed): void {
  let store: JobStore;
  const claimed = async (max = 100) => (await claim(store, { max })).map(({ job }) => job.id);

  describe("priority", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("starts the highest first, and within one the oldest, across isolations", async () => {
      const order = [-5, 0, 7, 0, 7, -1000, 1000];
      const ids: string[] = [];
      for (const [i, priority] of order.entries()) {
        ids.push(
          (await accept(store, { spec: specWith({ priority, isolation: 1 + (i % 4) }) })).id,
        );
      }
      const wanted = [6, 2, 4, 1, 3, 0, 5].map((i) => ids[i]);
      expect([...(await claimed(3)), ...(await claimed())]).to.deep.equal(wanted);
    });
  });

  describe("a start delay", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("holds a job back until it is over", async () => {
      const late = await accept(store, { spec: delayed(60_000) });
      const next = await accept(store);
      expect(late.availableTime).not.to.equal(undefined);
      expect((await store.explain(late.id))?.hold).to.equal("delay");
      expect(await claimed()).to.deep.equal([next.id]);
      expect(await store.stats()).to.deep.equal({ queued: 1, running: 1 });
      await bed.advance(30_000);
      await store.sweep();
      expect(await claimed()).to.deep.equal([]);
      await bed.advance(31_000);
      expect(await claimed()).to.deep.equal([late.id]);
      expect((await store.get(late.id))?.availableTime).to.equal(undefined);
    });

    it("is ended by a cancel", async () => {
      const { id } = await accept(store, { spec: delayed(60_000) });
      expect(await store.requestCancel(id, cancel)).to.deep.include({ status: CANCELLED });
      await bed.advance(61_000);
      expect(await claimed()).to.deep.equal([]);
    });

    it("comes before the wait for a slot of a concurrency key", async () => {
      const first = await hold(store, { spec: keyed("k", 1) });
      const { id } = await accept(store, {
        spec: keyed("k", 1, { startDelay: durationFromMs(60_000) }),
      });
      await bed.advance(61_000);
      expect(await claimed()).to.deep.equal([]);
      expect(await store.explain(id)).to.deep.include({ hold: "key", holders: [first.id] });
      await store.finish(first.lease, first.nextSeq, result());
      expect(await claimed()).to.deep.equal([id]);
    });
  });

  describe("a concurrency key", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    const acceptMany = async (count: number, jobSpec: JobSpec, owner = "tok_1") => {
      const ids: string[] = [];
      for (let i = 0; i < count; i++) ids.push((await accept(store, { spec: jobSpec, owner })).id);
      return ids;
    };

    it("lets its limit run at once, the best first", async () => {
      const [a, b, c] = await acceptMany(3, keyed("k", 2));
      const urgent = (await accept(store, { spec: keyed("k", 2, { priority: 9 }) })).id;
      const got = await claim(store);
      // A slot that was given is kept: the urgent one is first among those that wait.
      expect(got.map(({ job }) => job.id)).to.deep.equal([a, b]);
      for (const next of [urgent, c]) {
        const [done] = got.splice(0, 1);
        if (done === undefined) throw new Error("nothing runs");
        await store.finish({ jobId: done.job.id, epoch: done.epoch }, done.nextSeq, result());
        expect(await claimed()).to.deep.equal([next]);
      }
    });

    it("is one owner's own, and no other key's", async () => {
      const mine = await acceptMany(2, keyed("k", 1));
      const theirs = await acceptMany(2, keyed("k", 1), "tok_2");
      const other = await acceptMany(2, keyed("k2", 1));
      expect(await claimed()).to.deep.equal([mine[0], theirs[0], other[0]]);
    });

    it("takes an absent limit as one", async () => {
      const [first] = await acceptMany(2, keyed("k", 0));
      expect(await claimed()).to.deep.equal([first]);
    });

    it("keeps its order where a job that waits sees fewer slots than the next", async () => {
      const [a] = await acceptMany(1, keyed("k", 1));
      const [strict] = await acceptMany(1, keyed("k", 1));
      const [loose] = await acceptMany(1, keyed("k", 5));
      expect(await claimed()).to.deep.equal([a]);
      // The one that blocked goes: the next sees a free slot.
      await store.requestCancel(String(strict), cancel);
      expect(await claimed()).to.deep.equal([loose]);
    });

    for (const [how, leave] of Object.entries({
      "a cancel in the queue": async (id: string) => {
        await store.requestCancel(id, cancel);
      },
      "a lost runner": async (id: string) => {
        const [lease] = await claim(store, { max: 1, leaseTtlMs: 0 });
        expect(lease?.job.id).to.equal(id);
        await store.sweep();
      },
      "a cancelled release": async () => {
        const { lease } = await hold(store);
        await store.requestCancel(lease.jobId, cancel);
        await store.release(lease, "");
      },
    })) {
      it(`gives the slot on after ${how}`, async () => {
        const [a, b] = await acceptMany(2, keyed("k", 1));
        await leave(String(a));
        const got = await claimed(1);
        expect(got).to.deep.equal([how === "a lost runner" ? a : b]);
      });
    }

    it("keeps the slot of a job that is released, and gives it on while one waits to retry", async () => {
      const { id, lease } = await hold(store, { spec: keyed("k", 1) });
      const [next] = await acceptMany(1, keyed("k", 1));
      await store.release(lease, "");
      bed.draw(0.5);
      expect(await claim(store, { leaseTtlMs: 0 })).to.have.length(1);
      await store.sweep();
      expect(await store.get(id)).to.deep.include({ status: QUEUED, attempt: 1 });
      expect(await claimed()).to.deep.equal([next]);
    });

    it("never lets more than its limit run, whoever accepts, claims and ends", async () => {
      const other = await bed.again();
      const limit = 3;
      let running = 0;
      let most = 0;
      let ended = 0;
      const total = 24;
      const accepts = Array.from({ length: total }, (_, i) =>
        (i % 2 ? store : other).accept({
          ...{ id: newId(), owner: "o", spec: keyed("k", limit), maxAttempts: 2 },
        }),
      );
      const run = async (at: JobStore, runnerId: string) => {
        while (ended < total) {
          for (const { job, epoch, nextSeq } of await claim(at, { runnerId, max: 2 })) {
            running += 1;
            most = Math.max(most, running);
            const lease = { jobId: job.id, epoch };
            await at.renew([lease], longMs);
            running -= 1;
            await at.finish(lease, nextSeq, result());
            ended += 1;
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const runs = [1, 2, 3, 4, 5].map((i) => run(i % 2 ? store : other, `r${i}`));
      await Promise.all([...accepts, ...runs]);
      expect(most).to.be.greaterThan(0).and.to.be.at.most(limit);
    }).timeout(30_000);
  });

  describe("a queue timeout", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    const limits = { queueTimeout: durationFromMs(60_000) };
    const hasty = () => specWith({ limits });

    it("fails a job that was not started in time, and no sooner", async () => {
      const { id } = await accept(store, { spec: hasty() });
      await bed.advance(30_000);
      expect(await store.sweep()).to.deep.equal([]);
      await bed.advance(31_000);
      const swept = { jobId: id, runnerId: "", outcome: "timed_out" };
      expect(await store.sweep()).to.deep.equal([swept]);
      const job = await store.get(id);
      expect(job).to.deep.include({ status: FAILED });
      expect(job?.result).to.deep.include({ reason: "QUEUE_TIMEOUT", lastSeq: 2 });
      expect(await store.sweep()).to.deep.equal([]);
    });

    it("counts until the first start only", async () => {
      const { id, lease } = await hold(store, { spec: hasty() });
      await store.release(lease, "");
      await bed.advance(61_000);
      expect(await store.sweep()).to.deep.equal([]);
      expect(await store.get(id)).to.deep.include({ status: QUEUED });
    });

    it("counts for a job that waits for a delay or a slot", async () => {
      await hold(store, { spec: keyed("k", 1) });
      const slot = keyed("k", 1, { limits });
      const late = specWith({ startDelay: durationFromMs(90_000), limits });
      for (const jobSpec of [slot, late]) await accept(store, { spec: jobSpec });
      await bed.advance(61_000);
      expect(await store.sweep()).to.have.length(2);
    });
  });

  describe("pause", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("lets nothing start until it is resumed, and lets what runs go on", async () => {
      const other = await bed.again();
      const { id, lease, nextSeq } = await hold(store);
      await store.pause("maintenance");
      await store.pause("another reason");
      await accept(store);
      const paused = await other.queue();
      expect(paused).to.deep.include({ queued: 1, running: 1, paused: true });
      expect(paused.pauseDetail).to.equal("maintenance");
      expect(paused.pausedAt).to.be.instanceOf(Date);
      expect(await claim(other)).to.deep.equal([]);
      await store.finish(lease, nextSeq, result());
      expect(await history(store, id)).to.have.length(3);
      await other.resume();
      await other.resume();
      expect(await store.queue()).to.deep.equal({
        ...{ queued: 1, running: 0, paused: false, pauseDetail: "", pausedAt: undefined },
      });
      expect(await claimed()).to.have.length(1);
    });
  });

  describe("explain", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("tells what the store knows of a job that waits", async () => {
      await accept(store, { spec: specWith({ priority: 1, isolation: 3 }) });
      await accept(store);
      const { id } = await accept(store);
      await accept(store);
      await store.pause("why not");
      const { job, ...facts } = (await store.explain(id)) ?? {};
      expect(job).to.deep.equal(await store.get(id));
      expect(facts).to.deep.equal({
        ...{ hold: "", paused: true, pauseDetail: "why not", ahead: 2, holders: [] },
      });
      expect(await store.explain("job_none")).to.equal(undefined);
      await store.resume();
      await claim(store);
      expect(await store.explain(id)).to.deep.include({ hold: "", ahead: 0, paused: false });
      expect((await store.explain(id))?.job.status).to.equal(RUNNING);
    });
  });
}
