/** What the backend does for runners: leases, heartbeats, and taking leases back. */
import type { Agent } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import type { Isolation } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { Agents } from "../agents/agents.ts";
import type { JobSignals } from "../jobs/job-signals.ts";
import type { ClaimedJob, JobStore, LeaseRef, LeaseState } from "../jobs/job-store.ts";
import type { Tokens } from "../tokens/tokens.ts";

/** What the class needs. */
export interface RunnersOptions {
  readonly store: JobStore;
  readonly signals: JobSignals;
  readonly agents: Agents;
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly leaseTtlMs: number;
}

/** A claimed job and the token for its own calls. */
export interface GrantedLease extends ClaimedJob {
  readonly jobToken: string;
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
  #sweeping: Promise<void> | undefined;

  constructor(options: RunnersOptions) {
    this.#store = options.store;
    this.#signals = options.signals;
    this.#agents = options.agents;
    this.#tokens = options.tokens;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.leaseTtlMs = options.leaseTtlMs;
  }

  /** Makes a runner known. */
  register(runner: Agent): Promise<void> {
    return this.#agents.register(runner);
  }

  /** Waits for jobs the runner can run, and leases them. Throws NOT_FOUND for unknown runners. */
  async lease(input: LeaseInput, signal: AbortSignal): Promise<GrantedLease[]> {
    const { runnerId, max, strongest, waitMs } = input;
    await this.#agents.touch(runnerId, 0);
    using listener = this.#signals.listen("");
    const until = this.#clock.now() + waitMs;
    for (;;) {
      const leaseTtlMs = this.leaseTtlMs;
      const claimed = await this.#store.claim({ runnerId, strongest, max, leaseTtlMs });
      if (claimed.length > 0) return Promise.all(claimed.map((job) => this.#grant(job)));
      const left = until - this.#clock.now();
      if (left <= 0 || signal.aborted || this.#stopped.signal.aborted) return [];
      await listener.wait(left, AbortSignal.any([signal, this.#stopped.signal]));
    }
  }

  /** Notes that the runner lives and renews its leases. Throws NOT_FOUND for unknown runners. */
  async heartbeat(runnerId: string, leases: readonly LeaseRef[]): Promise<LeaseState[]> {
    await this.#agents.touch(runnerId, leases.length);
    const states = await this.#store.renew(leases, this.leaseTtlMs);
    for (const state of states) {
      if (state.fenced) this.#logger.warn({ jobId: state.jobId, runnerId }, "lease is fenced");
    }
    return states;
  }

  /** Takes leases back that ran out, from now on until `close`. */
  start(): void {
    this.#sweeping = this.#sweepForever();
  }

  /** Stops sweeping and lets waiting runners go. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#sweeping;
  }

  async #grant(claimed: ClaimedJob): Promise<GrantedLease> {
    const { secret } = await this.#tokens.createForJob(claimed.job.id);
    return { ...claimed, jobToken: secret };
  }

  async #sweepForever(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await this.#sweep();
      } catch (err) {
        // The store is away: the next round tries again.
        this.#logger.error({ err }, "leases could not be swept");
      }
      // Ends at once when the backend stops.
      await this.#clock.sleep(Math.min(2_000, this.leaseTtlMs / 4), signal).catch(() => {});
    }
  }

  async #sweep(): Promise<void> {
    for (const { jobId, runnerId, outcome } of await this.#store.sweep()) {
      this.#logger.warn({ jobId, runnerId, outcome }, "a runner was lost");
      await this.#tokens.endJob(jobId);
    }
  }
}
