/** Which runner gets a job by its labels, and who holds the lease. */
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import type { Labels } from "./job-placement.ts";
import {
  accept,
  claim,
  hold,
  type JobStoreBed,
  log,
  result,
  specWith,
} from "./job-store.suite.bed.ts";
import type { JobStore } from "./job-store.ts";

/** Declares the tests. */
export function placementSuite(bed: JobStoreBed): void {
  let store: JobStore;
  beforeEach(async () => {
    store = await bed.fresh();
  });

  const wanting = async (runnerLabels: Labels, more: Parameters<typeof specWith>[0] = {}) =>
    (await accept(store, { spec: specWith({ runnerLabels, ...more }) })).id;
  const taken = async (labels: Labels, max = 100) =>
    (await claim(store, { labels, max })).map(({ job }) => job.id);

  describe("labels", () => {
    it("let only runners take a job that have all of them, to the letter", async () => {
      const both = await wanting({ zone: "eu", gpu: "" });
      await wanting({ zone: "eu", gpu: "a100" });
      await wanting({ zone: "eu2" });
      await wanting({ zon: "eu" });
      const free = await wanting({});
      expect(await taken({})).to.deep.equal([free]);
      const strangers: Labels[] = [
        { zone: "eu" },
        { gpu: "" },
        { zone: "e" },
        { zone: "", gpu: "" },
      ];
      for (const labels of strangers) {
        expect(await taken(labels), JSON.stringify(labels)).to.deep.equal([]);
      }
      expect(await taken({ gpu: "", zone: "eu", other: "x" })).to.deep.equal([both]);
      expect(await store.stats()).to.deep.equal({ queued: 3, running: 2 });
    });

    it("are no order: the best that fits is first, whatever it asks for", async () => {
      const ids = [
        await wanting({ a: "1", c: "3" }),
        await wanting({}),
        await wanting({ b: "2" }, { priority: 5, isolation: 3 }),
        await wanting({ a: "1", b: "2", c: "3" }, { priority: 5 }),
        await wanting({ c: "3" }, { priority: -1 }),
        await wanting({}, { priority: 5, isolation: 2 }),
      ];
      const labels = { c: "3", a: "1", b: "2" };
      const got = [
        ...(await taken(labels, 2)),
        ...(await taken(labels, 1)),
        ...(await taken(labels)),
      ];
      expect(got).to.deep.equal([2, 3, 5, 0, 1, 4].map((i) => ids[i]));
    });

    it("that nobody has hold nobody else up, however many wait", async () => {
      for (let i = 0; i < 300; i++) await wanting({ nobody: `has-${i % 7}`, zone: "eu" });
      for (let i = 0; i < 30; i++) await wanting({ zone: "eu", zzz: "nobody" }, { priority: 9 });
      const eu = await wanting({ zone: "eu" });
      const free = await wanting({});
      expect(await taken({ zone: "eu" }, 1)).to.deep.equal([eu]);
      expect(await taken({ zone: "eu" })).to.deep.equal([free]);
      expect((await store.explain(eu))?.ahead).to.equal(0);
    });

    it("stay with a job that is queued again, delayed, or waits for a slot", async () => {
      const concurrency = { key: "k", limit: 1 };
      const id = await wanting({ zone: "eu" }, { concurrency });
      const next = await wanting({ zone: "eu" }, { concurrency });
      const [first] = await claim(store, { labels: { zone: "eu" }, leaseTtlMs: 0 });
      expect(first?.job.id).to.equal(id);
      await store.sweep();
      expect(await taken({})).to.deep.equal([]);
      expect(await taken({ zone: "eu" }, 1)).to.deep.equal([id]);
      await store.requestCancel(id, { by: "t", detail: "" });
      const leases = [{ jobId: id, epoch: (first?.epoch ?? 0) + 2 }];
      await store.renew(leases, 0);
      await store.sweep();
      expect(await taken({})).to.deep.equal([]);
      expect(await taken({ zone: "eu" })).to.deep.equal([next]);
    });

    it("tell a job's place among those it competes with", async () => {
      await wanting({ zone: "us" }, { priority: 1 });
      await wanting({});
      await wanting({ zone: "eu" });
      const id = await wanting({ zone: "eu" });
      const free = await wanting({});
      expect((await store.explain(id))?.ahead).to.equal(2);
      expect((await store.explain(free))?.ahead).to.equal(1);
    });

    it("give each job to one of many runners", async () => {
      const other = await bed.again();
      for (let i = 0; i < 40; i++) await wanting(i % 3 === 0 ? {} : { zone: i % 2 ? "eu" : "us" });
      const got: string[] = [];
      const run = async (i: number) => {
        const labels = { zone: i % 2 ? "eu" : "us" };
        // Of a claim that finds only what others take just now the queue is not empty.
        while ((await store.stats()).queued > 0) {
          const claimed = await claim(i % 3 ? store : other, { labels, max: 1 + (i % 3) });
          got.push(...claimed.map(({ job }) => job.id));
        }
      };
      await Promise.all([1, 2, 3, 4, 5, 6].map(run));
      expect(got).to.have.length(40);
      expect(new Set(got).size).to.equal(40);
    });
  });

  describe("a lease's holder", () => {
    const holderOf = (jobId: string, epoch: number) => store.leaseHolder({ jobId, epoch });

    it("is who took it, until the next one takes the job", async () => {
      const { id } = await accept(store, { maxAttempts: 3 });
      expect(await holderOf("job_none", 1)).to.equal(undefined);
      const [first] = await claim(store, { holder: "tok_a", leaseTtlMs: 0 });
      const epoch = first?.epoch ?? 0;
      expect(await holderOf(id, epoch)).to.equal("tok_a");
      expect(await holderOf(id, epoch + 1)).to.equal(undefined);
      await store.sweep();
      expect(await holderOf(id, epoch)).to.equal("tok_a");
      const [second] = await claim(store, { holder: "tok_b" });
      expect(await holderOf(id, epoch)).to.equal(undefined);
      expect(await holderOf(id, second?.epoch ?? 0)).to.equal("tok_b");
    });

    it("is known of an end that is told again", async () => {
      const retry = { failures: true };
      const { id } = await accept(store, { spec: specWith({ retry }) });
      const [first] = await claim(store, { holder: "tok_a" });
      const lease = { jobId: id, epoch: first?.epoch ?? 0 };
      await store.append(lease, [log(3, "x")]);
      await store.finish(lease, 4, result(JobStatus.FAILED));
      const [second] = await claim(store, { holder: "tok_b" });
      expect(second?.job.id).to.equal(id);
      expect(await holderOf(id, lease.epoch)).to.equal("tok_a");
      const last = { jobId: id, epoch: second?.epoch ?? 0 };
      await store.finish(last, second?.nextSeq ?? 0, result());
      expect(await holderOf(id, last.epoch)).to.equal("tok_b");
      expect(await holderOf(id, lease.epoch)).to.equal("tok_a");
    });

    it("is nobody where nobody said", async () => {
      const { lease } = await hold(store);
      expect(await store.leaseHolder(lease)).to.equal("");
    });
  });
}
