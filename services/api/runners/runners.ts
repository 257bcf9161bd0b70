/** What the backend does for runners: leases, heartbeats, and taking leases back. */
import { toBinary } from "@bufbuild/protobuf";
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import {
  type Isolation,
  type Job,
  type JobEvent,
  JobEventSchema,
  type JobResult,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Agents } from "../agents/agents.ts";
import { fenced } from "../jobs/job-endings.ts";
import type { JobSignals } from "../jobs/job-signals.ts";
import type { ClaimedJob, JobStore, LeaseRef, LeaseState } from "../jobs/job-store.ts";
import type { Tokens } from "../tokens/tokens.ts";

/** How many refusals are remembered as logged. */
const maxWarned = 10_000;

/** How much is read of a log at once to find its notes, and how often in one call. */
const notePage = { maxEvents: 1000, maxBytes: 1 << 20 };
const maxNotePages = 50;

/** What the class needs. */
export interface RunnersOptions {
  readonly store: JobStore;
  readonly signals: JobSignals;
  readonly agents: Agents;
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly leaseTtlMs: number;
  /** The longest that an ask for work is kept waiting. */
  readonly maxWaitMs: number;
}

/** A claimed job and the token for its own calls. */
export interface GrantedLease extends ClaimedJob {
  readonly jobToken: string;
}

/** What a runner hears to its sign of life. */
export interface Heartbeat {
  /** One for each lease, in order. */
  readonly leases: LeaseState[];
  /** True: it shall ask for no more work. */
  readonly draining: boolean;
}

/** What a runner asks for. */
export interface LeaseInput {
  readonly runnerId: string;
  readonly max: number;
  readonly strongest: Isolation;
  readonly waitMs: number;
}

/** Leases to runners. */
export class Runners {
  readonly #store: JobStore;
  readonly #signals: JobSignals;
  readonly #agents: Agents;
  readonly #tokens: Tokens;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  readonly leaseTtlMs: number;
  readonly #maxWaitMs: number;
  /** Refusals that were logged. */
  readonly #warned = new Set<string>();
  #sweeping: Promise<void> | undefined;

  constructor(options: RunnersOptions) {
    this.#store = options.store;
    this.#signals = options.signals;
    this.#agents = options.agents;
    this.#tokens = options.tokens;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.leaseTtlMs = options.leaseTtlMs;
    this.#maxWaitMs = options.maxWaitMs;
  }

  /** Makes a runner known. */
  register(runner: Agent): Promise<void> {
    return this.#agents.register(runner);
  }

  /**
   * Waits for jobs the runner can run, and leases them; none if none came in
   * time, or while the runner is drained. What was leased to a caller that has gone away is given back. Throws
   * NOT_FOUND for unknown runners.
   */
  async lease(input: LeaseInput, caller: AbortSignal): Promise<GrantedLease[]> {
    const { runnerId, max, strongest } = input;
    await this.#agents.touch(runnerId);
    using listener = this.#signals.listenToAll();
    const signal = AbortSignal.any([caller, this.#stopped.signal]);
    const until = this.#clock.now() + Math.min(input.waitMs, this.#maxWaitMs);
    const { leaseTtlMs } = this;
    while (!signal.aborted) {
      // A runner that went away without a word still waits here: what it lost is not given to it again.
      const takesJobs = await this.#agents.takesJobs(runnerId);
      const claim = { runnerId, strongest, max, leaseTtlMs };
      const claimed = takesJobs ? await this.#store.claim(claim) : [];
      if (claimed.length > 0) return this.#grant(claimed, signal);
      const leftMs = until - this.#clock.now();
      if (leftMs <= 0) break;
      await listener.wait(leftMs, signal);
    }
    return [];
  }

  /**
   * Notes that the runner lives, renews its leases, and says whether it shall
   * ask for no more work. Throws NOT_FOUND for unknown runners.
   */
  async heartbeat(runnerId: string, leases: readonly LeaseRef[]): Promise<Heartbeat> {
    await this.#agents.touch(runnerId, leases.length);
    const states = await this.#store.renew(leases, this.leaseTtlMs);
    for (const [index, lease] of leases.entries()) {
      if (states[index]?.fenced) this.#warnFenced(lease, "renew", runnerId);
    }
    return { leases: states, draining: await this.#agents.isDraining(runnerId) };
  }

  /** Appends to a leased job's log. Throws FENCED, SEQUENCE_GAP, NOT_FOUND. */
  append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number> {
    return this.#guarded(lease, "append", () => this.#store.append(lease, events));
  }

  /**
   * The notes of a leased job from a number on, and where to go on; 0: that is
   * all. Throws FENCED.
   */
  async notes(lease: LeaseRef, from: number): Promise<{ events: JobEvent[]; nextFrom: number }> {
    const [held] = await this.#store.renew([lease], this.leaseTtlMs);
    if (held?.fenced !== false) {
      this.#warnFenced(lease, "renew");
      throw fenced(lease);
    }
    const events: JobEvent[] = [];
    let next = Math.max(1, from);
    let bytes = 0;
    // Logs lie between the notes: they are passed over page by page.
    for (let pages = 0; pages < maxNotePages && bytes < notePage.maxBytes; pages++) {
      const page = await this.#store.readEvents(lease.jobId, next, notePage);
      const last = page.at(-1);
      if (last === undefined) return { events, nextFrom: 0 };
      next = last.seq + 1;
      for (const event of page) {
        if (event.kind.case !== "note") continue;
        events.push(event);
        bytes += toBinary(JobEventSchema, event).length;
      }
    }
    return { events, nextFrom: next };
  }

  /**
   * Ends a leased job, and its token; one that is tried again is queued. Throws
   * FENCED, SEQUENCE_GAP, NOT_FOUND.
   */
  async finish(lease: LeaseRef, seq: number, result: JobResult): Promise<Job> {
    const finish = () => this.#store.finish(lease, seq, result);
    const job = await this.#guarded(lease, "finish", finish);
    // One that is queued again may be in other hands already, with a new token.
    if (job.result !== undefined) await this.#tokens.endJob(lease.jobId);
    return job;
  }

  /**
   * Gives a leased job back. Its token works only while the job runs, and goes
   * when the next lease gets one: to end it here could hit that one already.
   * Throws FENCED, NOT_FOUND.
   */
  release(lease: LeaseRef, detail: string): Promise<void> {
    return this.#guarded(lease, "release", () => this.#store.release(lease, detail));
  }

  /**
   * Takes leases back that ran out, until `close`. The first look comes after
   * one lease's life: runners whose backend was away renew what they hold.
   */
  start(): void {
    this.#sweeping = this.#sweepForever();
  }

  /** Stops sweeping and lets waiting runners go. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#sweeping;
  }

  /** Does a write; its refusal as FENCED is logged. */
  async #guarded<T>(lease: LeaseRef, action: string, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      const fenced = error instanceof DevmeshError && error.reason === "FENCED";
      if (fenced) this.#warnFenced(lease, action);
      throw error;
    }
  }

  /** Once for each lease and kind of write: a runner that does not hear may go on for long. */
  #warnFenced({ jobId, epoch }: LeaseRef, action: string, runnerId?: string): void {
    const name = `${jobId} ${epoch} ${action}`;
    if (this.#warned.has(name)) return;
    if (this.#warned.size >= maxWarned) this.#warned.clear();
    this.#warned.add(name);
    this.#logger.warn(
      { jobId, epoch, action, runnerId },
      "a write under an ended lease was refused",
    );
  }

  async #grant(claimed: readonly ClaimedJob[], signal: AbortSignal): Promise<GrantedLease[]> {
    try {
      const leases: GrantedLease[] = [];
      for (const lease of claimed) {
        const { secret } = await this.#tokens.createForJob(lease.job);
        leases.push({ ...lease, jobToken: secret });
      }
      signal.throwIfAborted();
      return leases;
    } catch (error) {
      for (const lease of claimed) await this.#giveBack(lease);
      throw error;
    }
  }

  async #giveBack({ job, epoch }: ClaimedJob): Promise<void> {
    try {
      await this.release({ jobId: job.id, epoch }, "the runner did not take it");
    } catch (err) {
      // The lease runs out by itself.
      this.#logger.warn({ jobId: job.id, epoch, err }, "a lease could not be given back");
    }
  }

  async #sweepForever(): Promise<void> {
    const { signal } = this.#stopped;
    let waitMs = this.leaseTtlMs;
    while (!signal.aborted) {
      // Ends at once when the backend stops.
      await this.#clock.sleep(waitMs, signal).catch(() => {});
      if (signal.aborted) return;
      waitMs = Math.min(2_000, this.leaseTtlMs / 4);
      try {
        await this.#sweep();
      } catch (err) {
        // The store is away: the next round tries again.
        this.#logger.error({ err }, "leases could not be swept");
      }
    }
  }

  async #sweep(): Promise<void> {
    for (const { jobId, runnerId, outcome } of await this.#store.sweep()) {
      const what = outcome === "timed_out" ? "a job waited too long" : "a runner was lost";
      this.#logger.warn({ jobId, runnerId, outcome }, what);
      // One that is queued again may be in other hands already, with a new token.
      if (outcome !== "requeued") await this.#tokens.endJob(jobId);
    }
  }
}
