/** What the backend does for runners: leases, heartbeats, and taking leases back. */
import { toBinary } from "@bufbuild/protobuf";
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { type JobEvent, JobEventSchema } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { JobResult } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { EgressDecision } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Agents } from "../agents/agents.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import { toEgressRow } from "../audit/egress-rows.ts";
import { fenced } from "../jobs/job-endings.ts";
import type { JobSignals } from "../jobs/job-signals.ts";
import type { ClaimedJob, JobStore, LeaseRef, LeaseState } from "../jobs/job-store.ts";
import type { Tokens } from "../tokens/tokens.ts";
import { LeaseHolders } from "./lease-holders.ts";

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
  readonly audit: AuditStore;
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
  /** The caller, by the id of its token. */
  readonly holder: string;
  readonly max: number;
  readonly strongest: Isolation;
  readonly waitMs: number;
}

/** What a job's sandbox tried to reach. */
export interface EgressReport {
  /** Counts the reports of one lease, from 1. */
  readonly number: number;
  readonly decisions: readonly EgressDecision[];
  readonly requestId: string;
}

/** Leases to runners. */
export class Runners {
  readonly #store: JobStore;
  readonly #signals: JobSignals;
  readonly #agents: Agents;
  readonly #tokens: Tokens;
  readonly #audit: AuditStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  readonly leaseTtlMs: number;
  readonly #maxWaitMs: number;
  readonly #holders: LeaseHolders;
  /** Refusals that were logged. */
  readonly #warned = new Set<string>();
  #sweeping: Promise<void> | undefined;

  constructor(options: RunnersOptions) {
    this.#store = options.store;
    this.#signals = options.signals;
    this.#agents = options.agents;
    this.#tokens = options.tokens;
    this.#audit = options.audit;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.leaseTtlMs = options.leaseTtlMs;
    this.#maxWaitMs = options.maxWaitMs;
    this.#holders = new LeaseHolders({ store: options.store });
  }

  /** Makes a runner known. Throws ALREADY_EXISTS if another holder presented one of its id. */
  register(runner: Agent, holder: string): Promise<void> {
    return this.#agents.register(runner, holder);
  }

  /**
   * Waits for jobs the runner can run, and leases them; none if none came in
   * time, or while the runner is drained. What was leased to a caller that has gone away is given back. Throws
   * NOT_FOUND for unknown runners.
   */
  async lease(input: LeaseInput, caller: AbortSignal): Promise<GrantedLease[]> {
    const { runnerId, holder, max, strongest } = input;
    await this.#agents.touch(runnerId, holder);
    using listener = this.#signals.listenToAll();
    const signal = AbortSignal.any([caller, this.#stopped.signal]);
    const until = this.#clock.now() + Math.min(input.waitMs, this.#maxWaitMs);
    const { leaseTtlMs } = this;
    while (!signal.aborted) {
      // A runner that went away without a word still waits here: what it lost is not given to it again.
      const runner = await this.#agents.takesJobs(runnerId);
      const claim = { runnerId, holder, strongest, max, leaseTtlMs };
      const claimed =
        runner === undefined ? [] : await this.#store.claim({ ...claim, labels: runner.labels });
      if (claimed.length > 0) return this.#grant(claimed, holder, signal);
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
  async heartbeat(
    runnerId: string,
    leases: readonly LeaseRef[],
    holder: string,
  ): Promise<Heartbeat> {
    await this.#agents.touch(runnerId, holder, leases.length);
    const states = await this.#renew(leases, holder);
    for (const [index, lease] of leases.entries()) {
      if (states[index]?.fenced) this.#warnFenced(lease, "renew", runnerId);
    }
    return { leases: states, draining: await this.#agents.isDraining(runnerId) };
  }

  /** Appends to a leased job's log. Throws FENCED, SEQUENCE_GAP, NOT_FOUND. */
  append(lease: LeaseRef, events: readonly JobEvent[], holder: string): Promise<number> {
    return this.#guarded(lease, holder, "append", () => this.#store.append(lease, events));
  }

  /**
   * The notes of a leased job from a number on, and where to go on; 0: that is
   * all. Throws FENCED.
   */
  async notes(
    lease: LeaseRef,
    from: number,
    holder: string,
  ): Promise<{ events: JobEvent[]; nextFrom: number }> {
    const [held] = await this.#renew([lease], holder);
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
  async finish(lease: LeaseRef, seq: number, result: JobResult, holder: string): Promise<Job> {
    const finish = () => this.#store.finish(lease, seq, result);
    const job = await this.#guarded(lease, holder, "finish", finish);
    // One that is queued again may be in other hands already, with a new token.
    if (job.result !== undefined) await this.#tokens.endJob(lease.jobId);
    return job;
  }

  /**
   * Puts what a leased job's sandbox tried to reach into the audit, once for
   * each number. Throws FENCED, NOT_FOUND.
   */
  async reportEgress(lease: LeaseRef, report: EgressReport, holder: string): Promise<void> {
    const { jobId, epoch } = lease;
    const { number, decisions, requestId: correlationId } = report;
    // An append of nothing asks the store whether the lease still holds.
    await this.append(lease, [], holder);
    const owner = (await this.#store.get(jobId))?.owner ?? "";
    const timeMs = this.#clock.now();
    const row = { timeMs, actor: owner, resource: jobId, correlationId };
    const rows = decisions.map((decision) => ({ ...row, ...toEgressRow(decision) }));
    await this.#audit.appendReport({ source: jobId, epoch, number }, rows);
  }

  /**
   * Gives a leased job back. Its token works only while the job runs, and goes
   * when the next lease gets one: to end it here could hit that one already.
   * Throws FENCED, NOT_FOUND.
   */
  release(lease: LeaseRef, detail: string, holder: string): Promise<void> {
    return this.#guarded(lease, holder, "release", () => this.#store.release(lease, detail));
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

  /** Leases of others are fenced, and stay as they are. */
  async #renew(leases: readonly LeaseRef[], holder: string): Promise<LeaseState[]> {
    const own: LeaseRef[] = [];
    for (const lease of leases) if (await this.#holders.holds(lease, holder)) own.push(lease);
    const renewed = (await this.#store.renew(own, this.leaseTtlMs)).values();
    const isOwn = new Set(own);
    return leases.map((lease) => {
      const state = isOwn.has(lease) ? renewed.next().value : undefined;
      return state ?? { jobId: lease.jobId, fenced: true, cancelRequested: false };
    });
  }

  /** Does a write of the lease's holder; its refusal as FENCED is logged. */
  async #guarded<T>(
    lease: LeaseRef,
    holder: string,
    action: string,
    write: () => Promise<T>,
  ): Promise<T> {
    try {
      if (!(await this.#holders.holds(lease, holder))) throw fenced(lease);
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
      "a write under a lease that has ended, or is another's, was refused",
    );
  }

  async #grant(
    claimed: readonly ClaimedJob[],
    holder: string,
    signal: AbortSignal,
  ): Promise<GrantedLease[]> {
    try {
      const leases: GrantedLease[] = [];
      for (const lease of claimed) {
        this.#holders.note({ jobId: lease.job.id, epoch: lease.epoch }, holder);
        const { secret } = await this.#tokens.createForJob(lease.job);
        leases.push({ ...lease, jobToken: secret });
      }
      signal.throwIfAborted();
      return leases;
    } catch (error) {
      for (const lease of claimed) await this.#giveBack(lease, holder);
      throw error;
    }
  }

  async #giveBack({ job, epoch }: ClaimedJob, holder: string): Promise<void> {
    try {
      await this.release({ jobId: job.id, epoch }, "the runner did not take it", holder);
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
