/** Other attempts, the receipt of a cancel, refused writes, and logs that are kept no longer. */
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type JobResult, JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import {
  accept,
  allEvents,
  claim,
  history,
  hold,
  type JobStoreBed,
  log,
  longMs,
  reasonOf,
  refused,
  result,
  specWith,
} from "./job-store.suite.bed.ts";
import type { JobStore } from "./job-store.ts";

const { QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED } = JobStatus;

const failed = (reason = "EXIT_STATUS", message = "exit status 1"): JobResult =>
  create(JobResultSchema, { outcome: FAILED, reason, message, exitCode: 1 });

/** Declares the tests. */
export function retriesSuite(bed: JobStoreBed): void {
  let store: JobStore;

  describe("retries", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    /** How long the job waits for its next attempt, in ms: held just before, free just after. */
    const waits = async (id: string, ms: number) => {
      // What passes between two statements on a server's clock is allowed for.
      await bed.advance(ms - 500);
      expect(await claim(store)).to.deep.equal([]);
      await bed.advance(501);
      const [next] = await claim(store, { leaseTtlMs: 0 });
      expect(next?.job.id).to.equal(id);
    };

    it("wait longer after each lost runner, by the draw, up to the longest", async () => {
      const retry = { minBackoff: durationFromMs(10_000), maxBackoff: durationFromMs(30_000) };
      const { id } = await accept(store, { spec: specWith({ retry }), maxAttempts: 5 });
      bed.draw(0.5);
      await claim(store, { leaseTtlMs: 0 });
      for (const ms of [5_000, 10_000, 15_000, 15_000]) {
        expect(await store.sweep()).to.have.length(1);
        expect((await store.get(id))?.availableTime).not.to.equal(undefined);
        await waits(id, ms);
      }
      expect((await store.sweep())[0]?.outcome).to.equal("failed");
    });

    it("have a wait of a second at most after the first attempt by default", async () => {
      bed.draw(0.999);
      const { id } = await hold(store, { leaseTtlMs: 0 });
      await store.sweep();
      const told = (await allEvents(store, id)).at(-1)?.kind;
      const detail = told?.case === "status" ? told.value.detail : "";
      expect(detail).to.equal("runner r1 was lost; attempt 2 of 2 starts after 999 ms");
    });

    it("come after a failure where the policy says so, until attempts are used up", async () => {
      const spec = specWith({ retry: { failures: true } });
      const first = await hold(store, { spec, maxAttempts: 2 });
      const again = await store.finish(first.lease, 3, failed());
      expect(again).to.deep.include({ status: QUEUED, attempt: 1, lastSeq: 3 });
      const told = (await allEvents(store, first.id)).at(-1)?.kind;
      expect(told?.case === "status" && told.value).to.deep.include({
        status: QUEUED,
        detail: "attempt 1 failed (EXIT_STATUS): exit status 1; attempt 2 of 2 starts at once",
      });
      const second = await hold(store, { runnerId: "r2" });
      expect(second.id).to.equal(first.id);
      const end = await store.finish(second.lease, second.nextSeq, failed());
      expect(end).to.deep.include({ status: FAILED, attempt: 2 });
      expect(await history(store, first.id)).to.deep.equal([
        ...["QUEUED", "RUNNING 1 r1", "QUEUED", "RUNNING 2 r2", "result FAILED"],
      ]);
    });

    it("do not come after a failure, a success or a cancel where they must not", async () => {
      const spec = specWith({ retry: { failures: true } });
      const plain = await hold(store);
      expect(await store.finish(plain.lease, 3, failed())).to.deep.include({ status: FAILED });
      for (const outcome of [SUCCEEDED, CANCELLED]) {
        const { lease } = await hold(store, { spec });
        expect(await store.finish(lease, 3, result(outcome))).to.deep.include({ status: outcome });
      }
      const marked = await hold(store, { spec });
      await store.requestCancel(marked.id, { by: "tok_1", detail: "" });
      expect((await store.finish(marked.lease, 3, failed())).status).to.equal(FAILED);
    });

    it("answer the same end when it comes again, and fence the lease else", async () => {
      const other = await bed.again();
      const { id, lease } = await hold(store, { spec: specWith({ retry: { failures: true } }) });
      const ends = [store, other, store].map((at) => at.finish(lease, 3, failed()));
      for (const job of await Promise.all(ends)) expect(job.status).to.equal(QUEUED);
      expect(await history(store, id)).to.have.length(3);
      await refused(store.append(lease, [log(4, "late")]), "FENCED");
      const next = await hold(store, { runnerId: "r2" });
      expect((await store.finish(lease, 3, failed())).status).to.equal(RUNNING);
      await store.finish(next.lease, next.nextSeq, result());
      expect((await store.finish(lease, 3, failed())).status).to.equal(SUCCEEDED);
    });
  });

  describe("the receipt of a cancel", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("names who asked, when and why, and keeps what the runner did", async () => {
      const { id, lease } = await hold(store);
      await store.requestCancel(id, { by: "tok_9", detail: "enough" });
      await store.requestCancel(id, { by: "tok_8", detail: "again" });
      const steps = [{ name: "delivered" }, { name: "stopped", after: durationFromMs(12) }];
      const reported = create(JobResultSchema, {
        outcome: CANCELLED,
        cancel: { requestedBy: "a liar", detail: "x", steps, processesLeft: 2 },
      });
      const { result: end } = await store.finish(lease, 3, reported);
      expect(end?.cancel).to.deep.include({ requestedBy: "tok_9", detail: "enough" });
      expect(end?.cancel?.processesLeft).to.equal(2);
      expect(end?.cancel?.steps.map(({ name }) => name)).to.deep.equal(["delivered", "stopped"]);
      const { createTime, endTime } = (await store.get(id)) ?? {};
      const at = end?.cancel?.requestTime;
      if (!at || !createTime || !endTime) throw new Error("a time is missing");
      expect(timestampMs(at))
        .to.be.at.least(timestampMs(createTime))
        .and.most(timestampMs(endTime));
    });

    it("has no steps for a job that no runner holds, or whose runner was lost", async () => {
      const queued = await accept(store);
      const { result: end } = await store.requestCancel(queued.id, { by: "tok_9", detail: "no" });
      expect(end?.cancel).to.deep.include({ requestedBy: "tok_9", detail: "no", steps: [] });
      expect(end?.cancel?.requestTime).not.to.equal(undefined);
      const lost = await hold(store, { leaseTtlMs: 0 });
      await store.requestCancel(lost.id, { by: "tok_7", detail: "" });
      await store.sweep();
      const swept = (await store.get(lost.id))?.result;
      expect(swept?.cancel).to.deep.include({ requestedBy: "tok_7", steps: [] });
    });

    it("is absent where nobody asked", async () => {
      const { lease } = await hold(store);
      const lied = create(JobResultSchema, { outcome: SUCCEEDED, cancel: { detail: "x" } });
      expect((await store.finish(lease, 3, lied)).result?.cancel).to.equal(undefined);
    });
  });

  describe("fencedWrites", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("names every kind of refused write, its lease, its runner and how often", async () => {
      const { id, lease, nextSeq } = await hold(store, { leaseTtlMs: 0 });
      expect(await store.fencedWrites(id)).to.deep.equal([]);
      await store.sweep();
      await reasonOf(store.append(lease, [log(nextSeq, "late")]));
      await reasonOf(store.append(lease, [log(nextSeq, "late")]));
      const next = await hold(store, { runnerId: "r2" });
      await reasonOf(store.append(lease, [log(nextSeq, "late")]));
      await reasonOf(store.release(lease, ""));
      await store.renew([lease, next.lease], longMs);
      await reasonOf(store.finish(lease, nextSeq, result()));
      const brief = (await store.fencedWrites(id)).map(
        ({ epoch, action, runner, count }) => `${epoch} ${action} ${runner} ${count}`,
      );
      const { epoch } = lease;
      expect(brief).to.deep.equal([
        ...[`${epoch} append r1 3`, `${epoch} finish  1`, `${epoch} release  1`],
        `${epoch} renew  1`,
      ]);
      for (const { time } of await store.fencedWrites(id)) expect(time).not.to.equal(undefined);
    });

    it("are 100 at most of one job, and those go on counting", async () => {
      const { id } = await accept(store);
      let last = 0;
      while (last <= 101) {
        const [held] = await claim(store);
        if (held === undefined) throw new Error("no job to claim");
        last = held.epoch;
        await store.release({ jobId: id, epoch: last }, "");
      }
      const leases = Array.from({ length: 101 }, (_, i) => ({ jobId: id, epoch: i + 1 }));
      await store.renew(leases, longMs);
      await store.renew(leases.slice(0, 1), longMs);
      const noted = await store.fencedWrites(id);
      expect(noted.map(({ epoch }) => epoch)).to.deep.equal(
        leases.slice(0, 100).map((l) => l.epoch),
      );
      expect(noted[0]?.count).to.equal(2);
    });

    it("leaves nothing of leases that were never given, and of a gap", async () => {
      const { id, lease } = await hold(store);
      for (const epoch of [0, 77]) await reasonOf(store.append({ jobId: id, epoch }, []));
      await store.renew([{ jobId: "job_none", epoch: 1 }], longMs);
      await refused(store.append(lease, [log(9, "x")]), "SEQUENCE_GAP");
      expect(await store.fencedWrites(id)).to.deep.equal([]);
      expect(await store.fencedWrites("job_none")).to.deep.equal([]);
    });
  });

  describe("trim", () => {
    beforeEach(async () => {
      store = await bed.fresh();
    });

    const dayMs = 86_400_000;

    it("leaves the result and one event for all that went", async () => {
      const old = await hold(store);
      await store.append(old.lease, [log(3, "12345"), log(4, "678")]);
      await store.finish(old.lease, 5, result());
      await bed.advance(2 * dayMs);
      const young = await hold(store);
      await store.finish(young.lease, 3, result());
      const live = await hold(store);
      expect(await store.trim({ endedBeforeMs: dayMs, limit: 10 })).to.deep.equal([old.id]);
      expect(await store.trim({ endedBeforeMs: dayMs, limit: 10 })).to.deep.equal([]);
      const events = await allEvents(store, old.id);
      expect(events.map(({ seq }) => seq)).to.deep.equal([4, 5]);
      const [trim, end] = events.map(({ kind }) => kind);
      expect(trim?.case === "trim" && trim.value).to.deep.include({
        ...{ firstSeq: 1, logBytes: 8n, detail: "logs are kept for 1 days after the end" },
      });
      expect(end?.case).to.equal("result");
      expect(await store.readEvents(old.id, 2, { maxEvents: 1, maxBytes: 1 })).to.have.length(1);
      for (const { id } of [young, live]) await history(store, id);
    });

    it("takes those that ended first, no more than asked for", async () => {
      const ids: string[] = [];
      for (let i = 0; i < 3; i++) {
        const { id, lease } = await hold(store);
        await store.finish(lease, 3, result());
        ids.push(id);
        await bed.advance(1_000);
      }
      const trim = () => store.trim({ endedBeforeMs: 500, limit: 2 });
      expect(await trim()).to.deep.equal(ids.slice(0, 2));
      expect(await trim()).to.deep.equal(ids.slice(2));
      expect((await allEvents(store, String(ids[0]))).map(({ seq }) => seq)).to.deep.equal([2, 3]);
    });
  });
}
