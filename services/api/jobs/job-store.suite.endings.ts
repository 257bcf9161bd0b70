/** How jobs end: finished, cancelled, lost. */
import { createHash } from "node:crypto";
import { create, equals } from "@bufbuild/protobuf";
import { JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
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
  note,
  refused,
  result,
} from "./job-store.suite.bed.ts";
import type { JobStore } from "./job-store.ts";

const { RUNNING, QUEUED, SUCCEEDED, FAILED, CANCELLED } = JobStatus;

const digestOf = (text: string) => ({
  logSha256: createHash("sha256").update(text).digest("hex"),
  logBytes: BigInt(text.length),
});

/** Declares the tests. */
export function endingsSuite(bed: JobStoreBed): void {
  describe("finish", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    for (const outcome of [SUCCEEDED, FAILED, CANCELLED]) {
      it(`ends the job as ${JobStatus[outcome]}`, async () => {
        const { id, lease } = await hold(store);
        await store.append(lease, [log(3, "a")]);
        const job = await store.finish(lease, 4, result(outcome));
        expect(job).to.deep.include({ id, status: outcome, lastSeq: 4 });
        expect(job.endTime).not.to.equal(undefined);
        expect(await store.get(id)).to.deep.equal(job);
        const told = ["QUEUED", "RUNNING 1 r1", "log a", `result ${JobStatus[outcome]}`];
        expect(await history(store, id)).to.deep.equal(told);
        expect(await store.stats()).to.deep.equal({ queued: 0, running: 0 });
        expect(await store.sweep()).to.deep.equal([]);
      });
    }

    it("keeps the result to the letter, in the job and in its event", async () => {
      const { id, lease } = await hold(store);
      const given = create(JobResultSchema, {
        outcome: FAILED,
        exitCode: -1,
        reason: "EXIT_STATUS",
        message: "nul \0 ü",
        ...digestOf("a"),
        logBytes: 18_446_744_073_709_551_615n,
        artifacts: [{ name: "a/b.patch", sha256: "00", sizeBytes: 9_007_199_254_740_993n }],
        agent: { summary: "done", steps: 3, patch: "--- a\n+++ b\n" },
      });
      await store.finish(lease, 3, given);
      const wanted = { ...given, lastSeq: 3 };
      const kept = (await store.get(id))?.result;
      expect(kept && equals(JobResultSchema, kept, wanted)).to.equal(true);
      const event = (await allEvents(store, id)).at(-1)?.kind;
      expect(event?.case === "result" && equals(JobResultSchema, event.value, wanted)).to.equal(
        true,
      );
    });

    it("answers the ended job when it comes again", async () => {
      const { id, lease } = await hold(store);
      const first = await store.finish(lease, 3, result());
      expect(await store.finish(lease, 3, result(FAILED))).to.deep.equal(first);
      expect(await history(store, id)).to.have.length(3);
    });

    it("ends the job once when it comes many times at once", async () => {
      const other = await bed.again();
      const { id, lease } = await hold(store);
      const jobs = await Promise.all(
        [SUCCEEDED, FAILED, SUCCEEDED, FAILED, CANCELLED].map((outcome, i) =>
          (i % 2 ? store : other).finish(lease, 3, result(outcome)),
        ),
      );
      expect(new Set(jobs.map(({ status }) => status)).size).to.equal(1);
      expect(await history(store, id)).to.have.length(3);
    });

    it("refuses a number that does not continue the log, and what is no end", async () => {
      const { lease } = await hold(store);
      for (const seq of [2, 4]) await refused(store.finish(lease, seq, result()), "SEQUENCE_GAP");
      for (const outcome of [QUEUED, RUNNING, JobStatus.UNSPECIFIED]) {
        await refused(store.finish(lease, 3, result(outcome)), "INVALID_FIELD");
      }
    });

    it("lets nothing be written after the end", async () => {
      const { id, lease } = await hold(store);
      await store.finish(lease, 3, result());
      await refused(store.append(lease, [log(4, "late")]), "FENCED");
      await refused(store.release(lease, ""), "FENCED");
      expect((await store.renew([lease], longMs))[0]?.fenced).to.equal(true);
      expect(await history(store, id)).to.have.length(3);
    });
  });

  describe("requestCancel", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("ends a queued job at once", async () => {
      const { id } = await accept(store);
      const job = await store.requestCancel(id, { by: "tok_1", detail: "a mistake" });
      expect(job).to.deep.include({ status: CANCELLED, cancelRequested: true, lastSeq: 2 });
      expect(job.result).to.deep.include({ outcome: CANCELLED, reason: "CANCELLED" });
      expect(job.result).to.deep.include({ message: "a mistake", ...digestOf("") });
      expect(await claim(store)).to.deep.equal([]);
      expect(await store.requestCancel(id, { by: "tok_1", detail: "again" })).to.deep.equal(job);
      expect(await history(store, id)).to.deep.equal(["QUEUED", "result CANCELLED"]);
    });

    it("marks a running job, whose runner ends it", async () => {
      const { id, lease } = await hold(store);
      const job = await store.requestCancel(id, { by: "tok_1", detail: "a mistake" });
      expect(job).to.deep.include({ status: RUNNING, cancelRequested: true, lastSeq: 2 });
      expect(await store.requestCancel(id, { by: "tok_1", detail: "again" })).to.deep.equal(job);
      const ended = await store.finish(lease, 3, result(CANCELLED));
      expect(ended).to.deep.include({ status: CANCELLED, cancelRequested: true });
      expect(ended.result).to.deep.include({ message: "a mistake" });
    });

    it("lets a running job end otherwise", async () => {
      const { id, lease } = await hold(store);
      await store.requestCancel(id, { by: "tok_1", detail: "" });
      await store.finish(lease, 3, result(SUCCEEDED));
      expect(await store.get(id)).to.deep.include({ status: SUCCEEDED, cancelRequested: true });
    });

    it("answers a cancelled job, and refuses one that ended otherwise", async () => {
      for (const outcome of [SUCCEEDED, FAILED, CANCELLED]) {
        const { id, lease } = await hold(store);
        const job = await store.finish(lease, 3, result(outcome));
        if (outcome !== CANCELLED)
          await refused(store.requestCancel(id, { by: "tok_1", detail: "" }), "WRONG_STATE");
        else expect(await store.requestCancel(id, { by: "tok_1", detail: "" })).to.deep.equal(job);
      }
    });

    it("has the log of the last attempt in the result of a job that waits again", async () => {
      const { id, lease } = await hold(store, { leaseTtlMs: 0 });
      await store.append(lease, [log(3, "one\n"), log(4, "two\n")]);
      await store.sweep();
      const { result: end } = await store.requestCancel(id, { by: "tok_1", detail: "" });
      expect(end).to.deep.include(digestOf("one\ntwo\n"));
    });

    it("races with claims, and one of both wins", async () => {
      const other = await bed.again();
      const jobs = [];
      for (let i = 0; i < 12; i++) jobs.push(await accept(store));
      const cancels = jobs.map(({ id }) => store.requestCancel(id, { by: "tok_1", detail: "" }));
      const claims = jobs.map(() => claim(other, { max: 1 }));
      await Promise.all([...cancels, ...claims]);
      for (const { id } of jobs) {
        const job = await store.get(id);
        expect(job?.cancelRequested).to.equal(true);
        expect(job?.status).to.equal(job?.runner === "" ? CANCELLED : RUNNING);
        await history(store, id);
      }
    });
  });

  describe("sweep", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("leaves leases that live alone", async () => {
      await hold(store);
      expect(await store.sweep()).to.deep.equal([]);
    });

    it("queues a job again while attempts are left, then fails it", async () => {
      const { id } = await accept(store, { maxAttempts: 2 });
      const first = await hold(store, { leaseTtlMs: 0 });
      await store.append(first.lease, [log(3, "first")]);
      const swept = { jobId: id, runnerId: "r1" };
      expect(await store.sweep()).to.deep.equal([{ ...swept, outcome: "requeued" }]);
      expect(await store.sweep()).to.deep.equal([]);
      expect(await store.get(id)).to.deep.include({ status: QUEUED, attempt: 1 });
      const second = await hold(store, { leaseTtlMs: 0, runnerId: "r2" });
      await store.append(second.lease, [log(6, "one "), note(7), log(8, "two")]);
      expect(await store.sweep()).to.deep.equal([{ ...swept, runnerId: "r2", outcome: "failed" }]);
      const job = await store.get(id);
      expect(job).to.deep.include({ status: FAILED, attempt: 2, runner: "r2" });
      expect(job?.endTime).not.to.equal(undefined);
      expect(job?.result).to.deep.include({ reason: "RUNNER_LOST", ...digestOf("one two") });
      expect(await history(store, id)).to.deep.equal([
        ...["QUEUED", "RUNNING 1 r1", "log first", "QUEUED"],
        ...["RUNNING 2 r2", "log one ", "note noted", "log two", "result FAILED"],
      ]);
    });

    it("cancels a job that is to be cancelled, attempts left or not", async () => {
      const { id, lease } = await hold(store, { leaseTtlMs: 0, maxAttempts: 5 });
      await store.append(lease, [log(3, "half")]);
      await store.requestCancel(id, { by: "tok_1", detail: "enough" });
      const [swept] = await store.sweep();
      expect(swept).to.deep.equal({ jobId: id, runnerId: "r1", outcome: "cancelled" });
      const { result: end } = (await store.get(id)) ?? {};
      expect(end).to.deep.include({ reason: "CANCELLED", message: "enough", ...digestOf("half") });
    });

    it("has the digest of a log of many pages", async () => {
      const { id, lease } = await hold(store, { leaseTtlMs: 0, maxAttempts: 1 });
      const line = "y".repeat(1_000);
      const batch = Array.from({ length: 3_500 }, (_, i) => log(3 + i, line));
      await store.append(lease, batch);
      await store.sweep();
      expect((await store.get(id))?.result).to.deep.include(digestOf(line.repeat(3_500)));
    });

    it("never takes a lease that was renewed in time", async () => {
      const other = await bed.again();
      const leases = [];
      for (let i = 0; i < 20; i++) leases.push((await hold(store, { leaseTtlMs: 0 })).lease);
      const [swept, states] = await Promise.all([store.sweep(), other.renew(leases, longMs)]);
      const taken = new Set(swept.map(({ jobId }) => jobId));
      for (const { jobId, fenced } of states) {
        expect(fenced).to.equal(taken.has(jobId));
        expect((await store.get(jobId))?.status).to.equal(fenced ? QUEUED : RUNNING);
      }
    });

    it("never forgets a cancel that comes at the same time", async () => {
      const other = await bed.again();
      const jobs: string[] = [];
      for (let i = 0; i < 20; i++) jobs.push((await hold(store, { leaseTtlMs: 0 })).id);
      await Promise.all([
        store.sweep(),
        ...jobs.map((id) => other.requestCancel(id, { by: "tok_1", detail: "" })),
      ]);
      await store.sweep();
      for (const id of jobs) {
        expect(await store.get(id)).to.deep.include({ status: CANCELLED, cancelRequested: true });
        expect((await history(store, id)).at(-1)).to.equal("result CANCELLED");
      }
    });

    it("takes each lease back once when many sweep at once", async () => {
      const other = await bed.again();
      for (let i = 0; i < 10; i++) await hold(store, { leaseTtlMs: 0 });
      const sweeps = await Promise.all([store, other, store, other].map((at) => at.sweep()));
      expect(sweeps.flat()).to.have.length(10);
    });
  });
}
