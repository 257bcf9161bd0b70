/**
 * Random runs against a reference of a page: every answer and, in the end,
 * every job and every event must be as the reference says. It holds the rules:
 * one holder, rising epochs, nothing under an old one, gap-free numbers, one
 * end, one job for a key, no more at once than a concurrency key allows, the
 * best first. Nothing here hears `onChange`: every hint is lost.
 */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import fc from "fast-check";
import {
  history,
  type JobStoreBed,
  log,
  newId,
  reasonOf,
  result,
  specWith,
} from "./job-store.suite.bed.ts";
import { anyStep, type Step } from "./job-store.suite.steps.ts";
import type { JobStore } from "./job-store.ts";

interface ModelJob {
  readonly id: string;
  readonly isolation: number;
  readonly maxAttempts: number;
  readonly priority: number;
  /** Bits of the labels it wants. */
  readonly labels: number;
  /** 0: none. */
  readonly slotKey: number;
  readonly limit: number;
  readonly retriesFailures: boolean;
  status: JobStatus;
  hold: "" | "delay" | "key";
  /** A delay that is over; the next claim or sweep lets the job on. */
  due: boolean;
  attempt: number;
  cancel: boolean;
  /** Index of the lease that holds the job, or that ended it. */
  lease: number;
  /** Index of the last lease whose failed end led to another attempt. */
  retriedLease: number;
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

const { QUEUED, RUNNING, FAILED, CANCELLED } = JobStatus;

/** Delays end within one step of time; leases and keys outlast all of a run's. */
const delayMs = 1_000_000;
const stepMs = 2_000_000;
const lastingMs = 1_000_000_000_000;
const retry = { minBackoff: durationFromMs(delayMs), maxBackoff: durationFromMs(delayMs) };

/** Declares the test. */
export function modelSuite(bed: JobStoreBed, numRuns: number): void {
  describe("random runs", function () {
    this.timeout(60_000);

    it("are as the reference says", async () => {
      // On a slow machine the runs that are left do nothing: none is cut off half way.
      const end = Date.now() + 8_000;
      const property = fc.asyncProperty(fc.array(anyStep, { maxLength: 60 }), async (run) => {
        if (Date.now() > end) return;
        const model = new Model(bed, await bed.fresh());
        bed.draw(0.9);
        for (const step of run) await model.take(step);
        await model.compare();
      });
      await fc.assert(property, { numRuns });
    });
  });
}

/** A label for each bit; one key may not be had with two values. */
function labelsOf(bits: number): Record<string, string> {
  const labels = { 1: "zone", 2: "a/b", 4: "gpu" };
  const set = Object.entries(labels).filter(([bit]) => (bits & Number(bit)) !== 0);
  return Object.fromEntries(set.map(([bit, name]) => [name, bit]));
}

class Model {
  readonly #bed: JobStoreBed;
  readonly #store: JobStore;
  readonly #jobs: ModelJob[] = [];
  readonly #leases: ModelLease[] = [];
  readonly #keys = new Map<number, Key>();

  #paused = false;

  constructor(bed: JobStoreBed, store: JobStore) {
    this.#bed = bed;
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
      case "crash":
        return await this.#crash(`r${step.runner}`);
      case "pause":
        this.#paused = true;
        return await this.#store.pause("");
      case "resume":
        this.#paused = false;
        return await this.#store.resume();
      case "advance":
        for (const job of this.#jobs) job.due ||= job.hold === "delay";
        return await this.#bed.advance(stepMs);
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
    const { isolation, maxAttempts, fingerprint, priority, delayed, slotKey, limit } = step;
    const id = newId();
    const key = { value: `k${step.key}`, fingerprint: `f${fingerprint}`, ttlMs: lastingMs };
    const { labels } = step;
    const spec = specWith({
      ...{
        runnerLabels: labelsOf(labels),
        isolation,
        priority,
        retry: { ...retry, failures: step.retriesFailures },
      },
      ...(delayed && { startDelay: durationFromMs(delayMs) }),
      ...(slotKey && { concurrency: { key: `s${slotKey}`, limit } }),
    });
    const input = { id, owner: "o", spec, maxAttempts };
    const call = this.#store.accept({ ...input, ...(step.key && { key }) });
    const known = this.#keys.get(step.key);
    if (known && known.fingerprint !== fingerprint) {
      expect(await reasonOf(call)).to.equal("KEY_REUSED");
    } else if (known) {
      const { job, replayed } = await call;
      expect([job.id, replayed]).to.deep.equal([known.job.id, true]);
    } else {
      expect((await call).replayed).to.equal(false);
      const { retriesFailures } = step;
      const job: ModelJob = {
        ...{ id, isolation: Math.max(1, isolation), maxAttempts, priority, slotKey, limit },
        labels,
        ...{ retriesFailures, status: QUEUED, hold: delayed ? "delay" : slotKey ? "key" : "" },
        ...{ due: false, attempt: 0, cancel: false, lease: -1, retriedLease: -1, expired: false },
        ...{ topEpoch: 0, attemptSeq: 0, told: ["QUEUED"] },
      };
      this.#jobs.push(job);
      this.#fill(job);
      if (step.key) this.#keys.set(step.key, { job, fingerprint });
    }
  }

  async #claim(step: Step & { do: "claim" }): Promise<void> {
    const { runner, strongest, max, expires, labels: has } = step;
    const runnerId = `r${runner}`;
    const leaseTtlMs = expires ? 0 : lastingMs;
    const labels = labelsOf(has);
    const got = await this.#store.claim({ runnerId, strongest, max, leaseTtlMs, labels });
    this.#promote();
    const wanted = this.#waiting("").filter(
      (job) => job.isolation <= strongest && (job.labels & ~has) === 0,
    );
    const ids = this.#paused ? [] : wanted.slice(0, max).map(({ id }) => id);
    expect(got.map(({ job }) => job.id)).to.deep.equal(ids);
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
      if (job.slotKey) {
        const running = this.#active(job).filter(({ status }) => status === RUNNING);
        expect(running.length, "slots in use").to.be.at.most(job.limit);
      }
      job.attemptSeq = job.told.length;
      expect(nextSeq).to.equal(job.told.length + 1);
    }
  }

  async #renew({ job, epoch }: ModelLease, index: number, expires: boolean): Promise<void> {
    const fenced = job.status !== RUNNING || job.lease !== index;
    if (!fenced) job.expired = expires;
    const [state] = await this.#store.renew([{ jobId: job.id, epoch }], expires ? 0 : lastingMs);
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
    if (job.retriedLease === index || (job.lease === index && job.status !== RUNNING)) {
      expect(reason).to.equal("ok");
      expect((await call).status).to.equal(job.status);
    } else if (job.lease !== index) {
      expect(reason).to.equal("FENCED");
    } else {
      expect(reason).to.equal(shift === 0 ? "ok" : "SEQUENCE_GAP");
      if (shift !== 0) return;
      const again = outcome === FAILED && job.retriesFailures && !job.cancel;
      if (!again || job.attempt >= job.maxAttempts) return this.#end(job, outcome);
      job.retriedLease = index;
      this.#tryAgain(job);
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
    this.#fill(job);
  }

  async #cancel(job: ModelJob): Promise<void> {
    const reason = await reasonOf(this.#store.requestCancel(job.id, { by: "t", detail: "" }));
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
        this.#tryAgain(job);
        wanted.push(`${job.id} ${runner} requeued`);
      }
    }
    expect(swept.sort()).to.deep.equal(wanted.sort());
    this.#promote();
    for (const job of this.#jobs) this.#fill(job);
  }

  async #crash(runner: string): Promise<void> {
    const held = this.#jobs.filter(
      (job) => job.status === RUNNING && this.#leases[job.lease]?.runner === runner,
    );
    for (const job of held) job.expired = true;
    const leases = held.map((job) => ({ jobId: job.id, epoch: job.topEpoch }));
    const states = await this.#store.renew(leases, 0);
    expect(states.some(({ fenced }) => fenced)).to.equal(false);
  }

  #tryAgain(job: ModelJob): void {
    job.lease = -1;
    job.status = QUEUED;
    job.hold = "delay";
    job.due = false;
    job.told.push("QUEUED");
    this.#fill(job);
  }

  #end(job: ModelJob, outcome: JobStatus): void {
    job.status = outcome;
    job.hold = "";
    job.told.push(`result ${JobStatus[outcome]}`);
    this.#fill(job);
  }

  /** Jobs that wait, held or not, in the order in which they are taken. */
  #waiting(hold: ModelJob["hold"]): ModelJob[] {
    return this.#jobs
      .filter((job) => job.status === QUEUED && job.hold === hold)
      .sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1));
  }

  #active({ slotKey }: ModelJob): ModelJob[] {
    return this.#jobs.filter(
      (job) =>
        job.slotKey === slotKey &&
        (job.status === RUNNING || (job.status === QUEUED && job.hold === "")),
    );
  }

  #promote(): void {
    const due = this.#waiting("delay").filter((job) => job.due);
    for (const job of due) {
      job.hold = job.slotKey ? "key" : "";
      job.due = false;
    }
    for (const job of due) this.#fill(job);
  }

  #fill(of: ModelJob): void {
    if (of.slotKey === 0) return;
    for (const job of this.#waiting("key").filter(({ slotKey }) => slotKey === of.slotKey)) {
      if (this.#active(of).length >= job.limit) return;
      job.hold = "";
    }
  }
}
