/** Claims, renewals, releases, and what the fence keeps out. */
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import {
  accept,
  claim,
  commandSpec,
  history,
  hold,
  type JobStoreBed,
  log,
  longMs,
  refused,
  result,
} from "./job-store.suite.bed.ts";
import type { JobStore } from "./job-store.ts";

/** Declares the tests. */
export function leasesSuite(bed: JobStoreBed): void {
  describe("claim", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("gives nothing when nothing waits", async () => {
      expect(await claim(store)).to.deep.equal([]);
    });

    it("starts the job and tells of it", async () => {
      const { id } = await accept(store);
      const [claimed] = await claim(store);
      expect(claimed?.job).to.deep.include({ id, status: JobStatus.RUNNING, attempt: 1 });
      expect(claimed?.job).to.deep.include({ runner: "r1", lastSeq: 2 });
      expect(claimed?.job.startTime).not.to.equal(undefined);
      expect(claimed?.nextSeq).to.equal(3);
      expect(claimed?.epoch).to.be.greaterThan(0);
      expect(await store.get(id)).to.deep.equal(claimed?.job);
      expect(await history(store, id)).to.deep.equal(["QUEUED", "RUNNING 1 r1"]);
      expect(await store.stats()).to.deep.equal({ queued: 0, running: 1 });
    });

    it("takes the oldest first, and no more than asked for", async () => {
      for (const id of ["job_3", "job_1", "job_5", "job_2", "job_4"]) await accept(store, { id });
      const first = await claim(store, { max: 2 });
      const rest = await claim(store, { max: 10 });
      expect(first.map(({ job }) => job.id)).to.deep.equal(["job_1", "job_2"]);
      expect(rest.map(({ job }) => job.id)).to.deep.equal(["job_3", "job_4", "job_5"]);
    });

    it("puts a job that was queued again at its old place", async () => {
      const lost = await hold(store, { id: "job_1", leaseTtlMs: 0 });
      await accept(store, { id: "job_2" });
      await store.sweep();
      const [next] = await claim(store, { max: 1 });
      expect(next?.job.id).to.equal(lost.id);
    });

    const { UNSPECIFIED, PROCESS, CONTAINER, GVISOR, VM } = Isolation;
    for (const strongest of [PROCESS, CONTAINER, GVISOR, VM]) {
      it(`gives a runner up to ${Isolation[strongest]} what it can isolate`, async () => {
        const levels = [VM, UNSPECIFIED, GVISOR, CONTAINER, PROCESS];
        for (const isolation of levels) await accept(store, { spec: commandSpec(isolation) });
        const got = (await claim(store, { strongest })).map(({ job }) => job.spec?.isolation);
        expect(got).to.deep.equal(levels.filter((isolation) => isolation <= strongest));
      });
    }

    it("gives each job to one of many runners", async () => {
      const other = await bed.again();
      for (let i = 0; i < 60; i++) await accept(store);
      const taken: string[] = [];
      const run = async (runner: number) => {
        for (;;) {
          const at = runner % 2 ? store : other;
          const got = await claim(at, { runnerId: `r${runner}`, max: 1 + (runner % 3) });
          if (got.length === 0) return;
          taken.push(...got.map(({ job }) => job.id));
        }
      };
      await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(run));
      expect(taken).to.have.length(60);
      expect(new Set(taken).size).to.equal(60);
    });
  });

  describe("renew", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("keeps a lease from the sweep", async () => {
      const { lease } = await hold(store, { leaseTtlMs: 0 });
      const state = { jobId: lease.jobId, fenced: false, cancelRequested: false };
      expect(await store.renew([lease], longMs)).to.deep.equal([state]);
      expect(await store.sweep()).to.deep.equal([]);
      await store.renew([lease], 0);
      expect(await store.sweep()).to.have.length(1);
    });

    it("answers for each lease in order", async () => {
      const a = await hold(store);
      const b = await hold(store);
      const c = await hold(store);
      await store.requestCancel(b.id, { by: "tok_1", detail: "" });
      await store.finish(c.lease, c.nextSeq, result());
      const stale = { jobId: a.id, epoch: a.lease.epoch + 7 };
      const unknown = { jobId: "job_none", epoch: 1 };
      const states = await store.renew([c.lease, unknown, b.lease, stale, a.lease], longMs);
      expect(states).to.deep.equal([
        { jobId: c.id, fenced: true, cancelRequested: false },
        { jobId: "job_none", fenced: true, cancelRequested: false },
        { jobId: b.id, fenced: false, cancelRequested: true },
        { jobId: a.id, fenced: true, cancelRequested: false },
        { jobId: a.id, fenced: false, cancelRequested: false },
      ]);
      expect(await store.renew([], longMs)).to.deep.equal([]);
    });
  });

  describe("release", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("queues the job again without counting the attempt", async () => {
      const { id, lease } = await hold(store, { maxAttempts: 1 });
      await store.release(lease, "shutting down");
      expect(await store.get(id)).to.deep.include({ status: JobStatus.QUEUED, attempt: 0 });
      const next = await hold(store, { runnerId: "r2" });
      expect(next.lease.epoch).to.be.greaterThan(lease.epoch);
      const told = ["QUEUED", "RUNNING 1 r1", "QUEUED", "RUNNING 1 r2"];
      expect(await history(store, id)).to.deep.equal(told);
    });

    it("ends a job that is to be cancelled", async () => {
      const { id, lease } = await hold(store);
      await store.requestCancel(id, { by: "tok_1", detail: "not needed" });
      await store.release(lease, "shutting down");
      const job = await store.get(id);
      expect(job).to.deep.include({ status: JobStatus.CANCELLED, cancelRequested: true });
      expect(job?.result).to.deep.include({ reason: "CANCELLED", message: "not needed" });
    });
  });

  describe("the fence", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    const refusals = (store: JobStore, lease: { jobId: string; epoch: number }, seq: number) => [
      refused(store.append(lease, [log(seq, "late")]), "FENCED"),
      refused(store.append(lease, []), "FENCED"),
      refused(store.finish(lease, seq, result()), "FENCED"),
      refused(store.release(lease, ""), "FENCED"),
    ];

    it("refuses every write of a lease that was swept", async () => {
      const { id, lease, nextSeq } = await hold(store, { leaseTtlMs: 0 });
      await store.append(lease, [log(nextSeq, "one")]);
      await store.sweep();
      await Promise.all(refusals(store, lease, nextSeq + 2));
      expect((await store.renew([lease], longMs))[0]?.fenced).to.equal(true);
      const told = ["QUEUED", "RUNNING 1 r1", "log one", "QUEUED"];
      expect(await history(store, id)).to.deep.equal(told);
    });

    it("keeps a late finish from the next attempt", async () => {
      const old = await hold(store, { leaseTtlMs: 0 });
      await store.sweep();
      const next = await hold(store, { runnerId: "r2" });
      expect(next.id).to.equal(old.id);
      expect(next.lease.epoch).to.be.greaterThan(old.lease.epoch);
      await Promise.all(refusals(store, old.lease, next.nextSeq));
      expect((await store.renew([old.lease, next.lease], 0)).map((s) => s.fenced)).to.deep.equal([
        true,
        false,
      ]);
      expect(await store.get(old.id)).to.deep.include({ status: JobStatus.RUNNING, runner: "r2" });
      await store.finish(next.lease, next.nextSeq, result());
      expect(await store.get(old.id)).to.deep.include({ status: JobStatus.SUCCEEDED });
    });

    it("refuses every write after a release, an end by sweep, and of leases never given", async () => {
      const released = await hold(store);
      await store.release(released.lease, "");
      await Promise.all(refusals(store, released.lease, 4));
      const { lease } = await hold(store, { leaseTtlMs: 0 });
      await store.requestCancel(lease.jobId, { by: "tok_1", detail: "" });
      await store.sweep();
      expect(await store.get(lease.jobId)).to.deep.include({ status: JobStatus.CANCELLED });
      for (let epoch = 0; epoch <= lease.epoch; epoch++) {
        await Promise.all(refusals(store, { jobId: lease.jobId, epoch }, 6));
      }
      const { id } = await accept(store);
      await Promise.all(refusals(store, { jobId: id, epoch: 0 }, 2));
      await Promise.all(refusals(store, { jobId: id, epoch: 4_294_967_295 }, 2));
    });

    it("names a job that does not exist", async () => {
      const lease = { jobId: "job_none", epoch: 1 };
      await refused(store.append(lease, [log(1, "")]), "NOT_FOUND");
      await refused(store.append(lease, []), "NOT_FOUND");
      await refused(store.finish(lease, 1, result()), "NOT_FOUND");
      await refused(store.release(lease, ""), "NOT_FOUND");
      await refused(store.requestCancel("job_none", { by: "tok_1", detail: "" }), "NOT_FOUND");
    });
  });
}
