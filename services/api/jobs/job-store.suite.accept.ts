/** Accepting jobs: what is stored, and what an idempotency key promises. */
import { clone, equals } from "@bufbuild/protobuf";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import {
  accept,
  agentSpec,
  commandSpec,
  history,
  type JobStoreBed,
  longMs,
  newId,
  refused,
} from "./job-store.suite.bed.ts";
import type { AcceptInput, JobStore } from "./job-store.ts";

const key = (value = "k1", fingerprint = "f1", ttlMs = longMs) => ({ value, fingerprint, ttlMs });

function input(more: Partial<AcceptInput> = {}): AcceptInput {
  return { id: newId(), owner: "tok_1", spec: commandSpec(), maxAttempts: 2, ...more };
}

/** Declares the tests. */
export function acceptSuite(bed: JobStoreBed): void {
  describe("accept", () => {
    let store: JobStore;
    beforeEach(async () => {
      store = await bed.fresh();
    });

    it("stores the job with its first event", async () => {
      const { job, replayed } = await store.accept(input({ id: "job_a", spec: agentSpec() }));
      expect(replayed).to.equal(false);
      expect(job).to.deep.include({ id: "job_a", status: JobStatus.QUEUED, type: "agent" });
      expect(job).to.deep.include({ owner: "tok_1", attempt: 0, runner: "", lastSeq: 1 });
      expect(job.cancelRequested).to.equal(false);
      expect(job.startTime).to.equal(undefined);
      expect(job.createTime).not.to.equal(undefined);
      expect(await store.get("job_a")).to.deep.equal(job);
      expect(await history(store, "job_a")).to.deep.equal(["QUEUED"]);
    });

    it("keeps the spec to the letter", async () => {
      const spec = commandSpec(Isolation.VM);
      if (spec.work.case === "command") {
        spec.work.value.argv = ["sh", "-c", "echo 'ünï \0 \u{1f600}' \"$X\"", ""];
        spec.work.value.env = { X: "a=b\n" };
      }
      spec.labels = { team: "core", "": "x" };
      const kept = clone(JobSpecSchema, spec);
      const { id } = await accept(store, { spec });
      const stored = (await store.get(id))?.spec;
      expect(stored && equals(JobSpecSchema, stored, kept)).to.equal(true);
    });

    it("refuses a spec without work", async () => {
      const spec = commandSpec();
      spec.work = { case: undefined };
      await refused(accept(store, { spec }), "INVALID_FIELD");
    });

    it("answers the first job when the key comes again", async () => {
      const first = await store.accept(input({ key: key() }));
      const second = await store.accept(input({ key: key() }));
      expect(second).to.deep.equal({ job: first.job, replayed: true });
      expect(await store.stats()).to.deep.equal({ queued: 1, running: 0 });
    });

    it("answers the first job as it stands", async () => {
      const { job } = await store.accept(input({ key: key() }));
      await store.requestCancel(job.id, { by: "tok_1", detail: "" });
      const again = await store.accept(input({ key: key() }));
      expect(again.job).to.deep.include({ id: job.id, status: JobStatus.CANCELLED });
    });

    it("refuses the key with another fingerprint", async () => {
      await store.accept(input({ key: key("k1", "f1") }));
      await refused(store.accept(input({ key: key("k1", "f2") })), "KEY_REUSED");
      expect(await store.stats()).to.deep.equal({ queued: 1, running: 0 });
    });

    it("names the key and its job where it is refused", async () => {
      const { job } = await store.accept(input({ key: key("k1", "f1") }));
      const call = store.accept(input({ key: key("k1", "f2") }));
      const error = await call.catch((refusal: unknown) => refusal);
      if (!(error instanceof DevmeshError)) throw new Error("it was not refused");
      expect(error.metadata).to.deep.equal({ key: "k1", job_id: job.id });
      expect(error.message).to.contain('"k1"').and.to.contain(job.id);
    });

    it("finds the job of a key while it lasts", async () => {
      const { job } = await store.accept(input({ key: key("k1", "f1", 60_000) }));
      expect(await store.findByKey("tok_1", key("k1", "f1"))).to.deep.equal(job);
      await refused(store.findByKey("tok_1", key("k1", "f2")), "KEY_REUSED");
      expect(await store.findByKey("tok_2", key("k1", "f1"))).to.equal(undefined);
      expect(await store.findByKey("tok_1", key("k2", "f1"))).to.equal(undefined);
      await bed.advance(61_000);
      expect(await store.findByKey("tok_1", key("k1", "f2"))).to.equal(undefined);
    });

    it("keeps the keys of owners apart", async () => {
      const mine = await store.accept(input({ key: key() }));
      const theirs = await store.accept(input({ key: key("k1", "f2"), owner: "tok_2" }));
      expect(theirs.replayed).to.equal(false);
      expect(theirs.job.id).not.to.equal(mine.job.id);
    });

    it("replaces a key that is past its end", async () => {
      const first = await store.accept(input({ key: key("k1", "f1", 0) }));
      const second = await store.accept(input({ key: key("k1", "f2") }));
      expect(second.replayed).to.equal(false);
      expect(second.job.id).not.to.equal(first.job.id);
      expect((await store.accept(input({ key: key("k1", "f2") }))).job.id).to.equal(second.job.id);
    });

    it("drops keys past their end with a sweep, and no other", async () => {
      await store.accept(input({ key: key("old", "f1", 0) }));
      const kept = await store.accept(input({ key: key("kept") }));
      await store.sweep();
      expect((await store.accept(input({ key: key("old", "f2") }))).replayed).to.equal(false);
      expect((await store.accept(input({ key: key("kept") }))).job.id).to.equal(kept.job.id);
    });

    it("makes one job of many first uses of a key at once", async () => {
      const other = await bed.again();
      const calls = Array.from({ length: 40 }, (_, i) =>
        (i % 2 ? store : other).accept(input({ key: key(`k${i % 4}`) })),
      );
      const answers = await Promise.all(calls);
      expect(answers.filter(({ replayed }) => !replayed)).to.have.length(4);
      expect(new Set(answers.map(({ job }) => job.id)).size).to.equal(4);
      expect(await store.stats()).to.deep.equal({ queued: 4, running: 0 });
    });

    it("makes one job of many first uses of a key past its end", async () => {
      const other = await bed.again();
      await store.accept(input({ key: key("k1", "old", 0) }));
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => (i % 2 ? store : other).accept(input({ key: key() }))),
      );
      expect(answers.filter(({ replayed }) => !replayed)).to.have.length(1);
    });

    it("takes any text as owner and key", async () => {
      const odd = key("nul \0 quote ' \" \\ \u{1f600}");
      const first = await store.accept(input({ key: odd, owner: "o'\0" }));
      const second = await store.accept(input({ key: odd, owner: "o'\0" }));
      expect(second).to.deep.include({ replayed: true });
      expect(second.job.id).to.equal(first.job.id);
      expect(await store.get("job\0")).to.equal(undefined);
    });
  });
}
