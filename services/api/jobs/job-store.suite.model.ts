/**
 * Random runs against a reference of a page: every answer and, in the end,
 * every job and every event must be as the reference says. It holds the rules:
 * one holder, rising epochs, gap-free numbers, nothing after the end.
 */
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { expect } from "chai";
import fc from "fast-check";
import {
  commandSpec,
  history,
  type JobStoreBed,
  log,
  longMs,
  newId,
  reasonOf,
  result,
} from "./job-store.suite.bed.ts";
import type { JobStore } from "./job-store.ts";

interface ModelJob {
  readonly id: string;
  readonly isolation: number;
  readonly maxAttempts: number;
  status: JobStatus;
  attempt: number;
  cancel: boolean;
  /** Index of the lease that holds the job, or that ended it. */
  lease: number;
  expired: boolean;
  topEpoch: number;
  attemptSeq: number;
  readonly told: string[];
}

interface ModelLease {
  readonly job: ModelJob;
  readonly runner: string;
  readonly epoch: number;
}

interface Key {
  readonly job: ModelJob;
  readonly fingerprint: number;
}

/** What may happen. Jobs and leases are picked by number, modulo how many there are. */
type Step =
  | { do: "accept"; isolation: number; maxAttempts: number; key: number; fingerprint: number }
  | { do: "claim"; runner: number; strongest: number; max: number; expires: boolean }
  | { do: "renew"; lease: number; expires: boolean }
  | { do: "append"; lease: number; shift: number; count: number }
  | { do: "finish"; lease: number; shift: number; outcome: number }
  | { do: "release"; lease: number }
  | { do: "cancel"; job: number }
  | { do: "sweep" };

const { QUEUED, RUNNING, FAILED, CANCELLED } = JobStatus;

const just = <const T extends string>(name: T) => fc.constant(name);
const upTo = (min: number, max: number) => fc.integer({ min, max });
// The last leases are the ones that matter most: numbers are taken from the end.
const pick = upTo(0, 5);
const accept: fc.Arbitrary<Step> = fc.record({
  do: just("accept"),
  isolation: upTo(0, 4),
  maxAttempts: upTo(1, 3),
  key: upTo(0, 3),
  fingerprint: upTo(0, 1),
});
const claim: fc.Arbitrary<Step> = fc.record({
  do: just("claim"),
  runner: upTo(1, 3),
  strongest: upTo(1, 4),
  max: upTo(1, 3),
  expires: fc.boolean(),
});
const shift = fc.constantFrom(0, 0, 0, -1, -2, 1);
const steps: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: accept, weight: 3 },
  { arbitrary: claim, weight: 4 },
  fc.record({ do: just("renew"), lease: pick, expires: fc.boolean() }),
  {
    arbitrary: fc.record({ do: just("append"), lease: pick, shift, count: upTo(0, 3) }),
    weight: 4,
  },
  {
    arbitrary: fc.record({ do: just("finish"), lease: pick, shift, outcome: upTo(3, 5) }),
    weight: 2,
  },
  fc.record({ do: just("release"), lease: pick }),
  fc.record({ do: just("cancel"), job: pick }),
  { arbitrary: fc.record({ do: just("sweep") }), weight: 2 },
);

/** Declares the test. */
export function modelSuite(bed: JobStoreBed, numRuns: number): void {
  describe("random runs", function () {
    this.timeout(60_000);

    it("are as the reference says", async () => {
      // On a slow machine the runs that are left do nothing: none is cut off half way.
      const end = Date.now() + 8_000;
      const property = fc.asyncProperty(fc.array(steps, { maxLength: 50 }), async (run) => {
        if (Date.now() > end) return;
        const model = new Model(await bed.fresh());
        for (const step of run) await model.take(step);
        await model.compare();
      });
      await fc.assert(property, { numRuns });
    });
  });
}

class Model {
  readonly #store: JobStore;
  readonly #jobs: ModelJob[] = [];
  readonly #leases: ModelLease[] = [];
  readonly #keys = new Map<number, Key>();

  constructor(store: JobStore) {
    this.#store = store;
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case "accept":
        return await this.#accept(step);
      case "claim":
        return await this.#claim(step);
      case "sweep":
        return await this.#sweep();
      case "cancel": {
        const job = this.#jobs.at(-1 - (step.job % Math.max(1, this.#jobs.length)));
        return job && (await this.#cancel(job));
      }
      default: {
        const index = this.#leases.length - 1 - (step.lease % Math.max(1, this.#leases.length));
        const lease = this.#leases[index];
        if (lease === undefined) return;
        if (step.do === "renew") return await this.#renew(lease, index, step.expires);
        if (step.do === "append") return await this.#append(lease, index, step);
        if (step.do === "finish") return await this.#finish(lease, index, step);
        return await this.#release(lease, index);
      }
    }
  }

  /** Holds every job, its events and the counts against the store. */
  async compare(): Promise<void> {
    for (const { id, status, attempt, cancel, told } of this.#jobs) {
      const job = await this.#store.get(id);
      expect(job).to.deep.include({ status, attempt, cancelRequested: cancel });
      expect(await history(this.#store, id)).to.deep.equal(told);
    }
    const count = (status: JobStatus) => this.#jobs.filter((job) => job.status === status).length;
    const stats = { queued: count(QUEUED), running: count(RUNNING) };
    expect(await this.#store.stats()).to.deep.equal(stats);
  }

  async #accept(step: Step & { do: "accept" }): Promise<void> {
    const { isolation, maxAttempts, fingerprint } = step;
    const id = newId();
    const key = step.key && {
      value: `k${step.key}`,
      fingerprint: `f${fingerprint}`,
      ttlMs: longMs,
    };
    const input = { id, owner: "o", spec: commandSpec(isolation), maxAttempts };
    const call = this.#store.accept({ ...input, ...(key && { key }) });
    const known = this.#keys.get(step.key);
    if (known && known.fingerprint !== fingerprint) {
      expect(await reasonOf(call)).to.equal("KEY_REUSED");
    } else if (known) {
      const { job, replayed } = await call;
      expect([job.id, replayed]).to.deep.equal([known.job.id, true]);
    } else {
      expect((await call).replayed).to.equal(false);
      const fixed = { id, isolation: Math.max(1, isolation), maxAttempts };
      const state = { status: QUEUED, attempt: 0, cancel: false, lease: -1, expired: false };
      const job: ModelJob = { ...fixed, ...state, topEpoch: 0, attemptSeq: 0, told: ["QUEUED"] };
      this.#jobs.push(job);
      if (step.key) this.#keys.set(step.key, { job, fingerprint });
    }
  }

  async #claim({ runner, strongest, max, expires }: Step & { do: "claim" }): Promise<void> {
    const runnerId = `r${runner}`;
    const leaseTtlMs = expires ? 0 : longMs;
    const got = await this.#store.claim({ runnerId, strongest, max, leaseTtlMs });
    const wanted = this.#jobs.filter((j) => j.status === QUEUED && j.isolation <= strongest);
    const ids = wanted.map(({ id }) => id).sort();
    expect(got.map(({ job }) => job.id)).to.deep.equal(ids.slice(0, max));
    for (const { job: claimed, epoch, nextSeq } of got) {
      const job = wanted.find(({ id }) => id === claimed.id);
      if (job === undefined) throw new Error("unreachable");
      expect(epoch).to.be.greaterThan(job.topEpoch);
      job.topEpoch = epoch;
      job.status = RUNNING;
      job.attempt += 1;
      job.expired = expires;
      job.lease = this.#leases.push({ job, runner: runnerId, epoch }) - 1;
      job.told.push(`RUNNING ${job.attempt} ${runnerId}`);
      job.attemptSeq = job.told.length;
      expect(nextSeq).to.equal(job.told.length + 1);
    }
  }

  async #renew({ job, epoch }: ModelLease, index: number, expires: boolean): Promise<void> {
    const fenced = job.status !== RUNNING || job.lease !== index;
    if (!fenced) job.expired = expires;
    const [state] = await this.#store.renew([{ jobId: job.id, epoch }], expires ? 0 : longMs);
    const cancelRequested = !fenced && job.cancel;
    expect(state).to.deep.equal({ jobId: job.id, fenced, cancelRequested });
  }

  async #append(
    { job, epoch }: ModelLease,
    index: number,
    { shift, count }: Step & { do: "append" },
  ): Promise<void> {
    const last = job.told.length;
    const first = Math.max(1, last + 1 + shift);
    const events = Array.from({ length: count }, (_, i) => log(first + i, `${epoch}`));
    const reason = await reasonOf(this.#store.append({ jobId: job.id, epoch }, events));
    if (job.status !== RUNNING || job.lease !== index) {
      expect(reason).to.equal("FENCED");
    } else if (count > 0 && (first > last + 1 || first <= job.attemptSeq)) {
      expect(reason).to.equal("SEQUENCE_GAP");
    } else {
      expect(reason).to.equal("ok");
      const end = count > 0 ? first + count : 0;
      for (let seq = last + 1; seq < end; seq++) job.told.push(`log ${epoch}`);
    }
  }

  async #finish(
    { job, epoch }: ModelLease,
    index: number,
    { shift, outcome }: Step & { do: "finish" },
  ): Promise<void> {
    const seq = job.told.length + 1 + shift;
    const call = this.#store.finish({ jobId: job.id, epoch }, seq, result(outcome));
    const reason = await reasonOf(call);
    if (job.lease !== index) {
      expect(reason).to.equal("FENCED");
    } else if (job.status === RUNNING) {
      expect(reason).to.equal(shift === 0 ? "ok" : "SEQUENCE_GAP");
      if (shift === 0) this.#end(job, outcome);
    } else {
      expect(reason).to.equal("ok");
      expect((await call).status).to.equal(job.status);
    }
  }

  async #release({ job, epoch }: ModelLease, index: number): Promise<void> {
    const reason = await reasonOf(this.#store.release({ jobId: job.id, epoch }, ""));
    if (job.status !== RUNNING || job.lease !== index) {
      expect(reason).to.equal("FENCED");
      return;
    }
    expect(reason).to.equal("ok");
    job.lease = -1;
    if (job.cancel) return this.#end(job, CANCELLED);
    job.attempt -= 1;
    job.status = QUEUED;
    job.told.push("QUEUED");
  }

  async #cancel(job: ModelJob): Promise<void> {
    const reason = await reasonOf(this.#store.requestCancel(job.id, { by: "tok_1", detail: "" }));
    const ended = job.status !== QUEUED && job.status !== RUNNING;
    expect(reason).to.equal(ended && job.status !== CANCELLED ? "WRONG_STATE" : "ok");
    if (ended) return;
    job.cancel = true;
    if (job.status === QUEUED) this.#end(job, CANCELLED);
  }

  async #sweep(): Promise<void> {
    const swept = (await this.#store.sweep()).map((s) => `${s.jobId} ${s.runnerId} ${s.outcome}`);
    const wanted: string[] = [];
    for (const job of this.#jobs) {
      if (job.status !== RUNNING || !job.expired) continue;
      const runner = this.#leases[job.lease]?.runner;
      job.lease = -1;
      if (job.cancel || job.attempt >= job.maxAttempts) {
        this.#end(job, job.cancel ? CANCELLED : FAILED);
        wanted.push(`${job.id} ${runner} ${job.cancel ? "cancelled" : "failed"}`);
      } else {
        job.status = QUEUED;
        job.told.push("QUEUED");
        wanted.push(`${job.id} ${runner} requeued`);
      }
    }
    expect(swept.sort()).to.deep.equal(wanted.sort());
  }

  #end(job: ModelJob, outcome: JobStatus): void {
    job.status = outcome;
    job.told.push(`result ${JobStatus[outcome]}`);
  }
}
