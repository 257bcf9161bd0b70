/** This host's runner: presents itself, pulls leases, runs them, tells that it lives. */
import { hostname } from "node:os";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import type { Lease } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { type Reason, toDevmeshError } from "@devmesh/mesh/errors";
import { toProtoIsolation } from "./job-limits.ts";
import { JobRun, type JobRunOptions } from "./job-run.ts";

/** How long one ask for work may wait; shorter while drivers are still being tried. */
const leaseWaitMs = { settled: 20_000, probing: 500 };

/** How long a stop waits for a backend that must hear of the jobs that go back. */
const giveUpMs = 20_000;

/** The longest wait for the answer to a short call. */
const callTimeoutMs = 5_000;

/** What a runner needs. */
export interface RunnerOptions extends JobRunOptions {
  readonly version: string;
  /** How many jobs it runs at once. */
  readonly capacity: number;
  /** What jobs may ask of this host. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Told each time the backend has got to know this runner. */
  readonly onRegistered?: (runnerId: string) => void;
  /**
   * Told when the backend refuses the token; the work is dead then, as nothing
   * may be told of it. Absent: it may be taken again later.
   */
  readonly onRefused?: (error: unknown) => void;
}

/** Runs jobs of the backend on this host. */
export class Runner {
  readonly #options: RunnerOptions;
  /** Unique for each start, so that nobody takes it for an earlier one. */
  readonly id: string;
  readonly #runs = new Map<JobRun, Promise<void>>();
  /** Aborts when no more work is taken. */
  readonly #stopped = new AbortController();
  /** Aborts when no work is left either. */
  readonly #ended = new AbortController();
  /** Resolves when the backend has said how often to send heartbeats. */
  readonly #known = Promise.withResolvers<void>();
  #leasing: Promise<unknown> = Promise.resolve();
  #beating: Promise<unknown> = Promise.resolve();
  #heartbeatMs = 3_000;
  #lastAnswerMs = 0;
  #leaseTtlMs = 12_000;
  /** What the backend knows of this host, as JSON; empty if it does not know it. */
  #shown = "";
  /** Resolves when the heartbeat that is on its way has its answer, or none. */
  #beat: Promise<void> = Promise.resolve();
  /** Failed heartbeats since the last one that was answered. */
  #failedBeats = 0;
  /** There while the backend wants this runner drained; resolves when it does no more. */
  #resumed: PromiseWithResolvers<void> | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.id = options.ids.next("run");
  }

  /** Starts to pull work, from now on until `close`. */
  start(): void {
    this.#leasing = this.#leaseForever();
    this.#beating = this.#heartbeatForever();
  }

  /**
   * Takes no more work, gives what runs back to the queue, and waits for it. A
   * backend that is away does not hold the stop up: its leases run out.
   */
  async close(): Promise<void> {
    this.#stopped.abort();
    for (const run of this.#runs.keys()) run.shutDown();
    const { clock } = this.#options;
    clock.sleep(giveUpMs, this.#ended.signal).then(
      () => {
        for (const run of this.#runs.keys()) run.fence();
      },
      () => {
        // All went back in time.
      },
    );
    // A lease that was on its way when the stop came is given back too.
    await this.#leasing;
    await Promise.all(this.#runs.values());
    this.#ended.abort();
    await this.#beating;
  }

  async #register(): Promise<void> {
    const { backend, host, version, capacity, labels = {} } = this.#options;
    const rows = host.table();
    const capabilities = rows.map((row) => ({
      ...row,
      isolation: toProtoIsolation(row.isolation),
    }));
    const { leaseTtl, heartbeatInterval } = await backend.runners.registerRunner(
      { runner: { id: this.id, host: hostname(), version, capacity, capabilities, labels } },
      // Not the stop's signal: a drain's heartbeats may need it too.
      { timeoutMs: callTimeoutMs, signal: this.#ended.signal },
    );
    this.#leaseTtlMs = leaseTtl ? durationMs(leaseTtl) : this.#leaseTtlMs;
    this.#heartbeatMs = heartbeatInterval ? durationMs(heartbeatInterval) : this.#heartbeatMs;
    this.#heard();
    this.#shown = JSON.stringify(rows);
    this.#known.resolve();
    this.#options.onRegistered?.(this.id);
  }

  async #leaseForever(): Promise<void> {
    const { signal } = this.#stopped;
    const { host, clock } = this.#options;
    await Promise.race([host.ready(), aborted(signal)]);
    await this.#forever(signal, async () => {
      if (this.#resumed !== undefined) {
        await Promise.race([this.#resumed.promise, aborted(signal)]);
        return;
      }
      const rows = host.table();
      // Drivers that take longer are told as soon as they are known, and so is a new verdict.
      if (JSON.stringify(rows) !== this.#shown) await this.#register();
      const waitMs = rows.some((row) => row.pending) ? leaseWaitMs.probing : leaseWaitMs.settled;
      const isolations = rows
        .filter((row) => row.available)
        .map((row) => toProtoIsolation(row.isolation));
      const room = this.#options.capacity - this.#runs.size;
      // A stop ends the runs too.
      if (room <= 0) await Promise.race(this.#runs.values());
      else if (isolations.length === 0) await clock.sleep(waitMs, signal);
      else await this.#askForWork({ maxJobs: Math.min(room, 100), isolations, waitMs });
    });
  }

  async #askForWork(ask: {
    readonly maxJobs: number;
    readonly isolations: ReturnType<typeof toProtoIsolation>[];
    readonly waitMs: number;
  }): Promise<void> {
    const { maxJobs, isolations, waitMs } = ask;
    const request = { runnerId: this.id, maxJobs, isolations, wait: durationFromMs(waitMs) };
    const { signal } = this.#stopped;
    const options = { timeoutMs: waitMs + 10_000, signal };
    try {
      const { leases } = await this.#options.backend.runners.leaseJobs(request, options);
      this.#heard();
      for (const lease of leases) this.#run(lease);
    } catch (error) {
      // A backend that does not know this runner any more gets to know it again.
      if (isUnknownRunner(error)) this.#shown = "";
      throw error;
    }
  }

  #run(lease: Lease): void {
    const run = new JobRun(this.#options, lease, () => this.#beat);
    // A newer lease of a job says that the older one is lost.
    for (const other of this.#runs.keys()) if (other.jobId === run.jobId) other.fence();
    if (this.#stopped.signal.aborted) run.shutDown();
    const done = run.run().finally(() => this.#runs.delete(run));
    this.#runs.set(run, done);
  }

  /**
   * Also while the last jobs go back: their leases must not run out before. A
   * runner that stood still (SIGSTOP, a suspended machine) first tells the
   * backend of every lease it takes for its own, and hears which it has lost.
   */
  async #heartbeatForever(): Promise<void> {
    const { signal } = this.#ended;
    await Promise.race([this.#known.promise, aborted(signal)]);
    await this.#forever(signal, async () => {
      const runs = [...this.#runs.keys()].filter(({ isRenewed }) => isRenewed);
      const beat = this.#sendBeat(runs);
      // Who waits for it only wants it to be over; here it may fail.
      this.#beat = beat.catch(() => {});
      try {
        await beat;
        this.#failedBeats = 0;
      } catch (error) {
        this.#failedBeats += 1;
        this.#giveUpWhenSilent(runs);
        throw error;
      }
      await this.#options.clock.sleep(this.#heartbeatMs, signal);
    });
  }

  async #sendBeat(runs: readonly JobRun[]): Promise<void> {
    try {
      await this.#renew(runs);
    } catch (error) {
      if (!isUnknownRunner(error)) throw error;
      await this.#register();
      await this.#renew(runs);
    }
  }

  async #renew(runs: readonly JobRun[]): Promise<void> {
    const leases = runs.map(({ jobId, epoch }) => ({ jobId, epoch }));
    // A call that hangs leaves time for others before the leases run out.
    const timeoutMs = Math.min(callTimeoutMs, this.#leaseTtlMs / 3);
    const answer = await this.#options.backend.heartbeats.heartbeat(
      { runnerId: this.id, leases },
      { timeoutMs, signal: this.#ended.signal },
    );
    this.#heard();
    this.#drain(answer.draining);
    answer.leases.forEach((state, i) => {
      if (state.fenced) runs[i]?.fence();
      else if (state.cancelRequested) runs[i]?.cancel();
      else if (state.answer) runs[i]?.answer(state.answer);
    });
  }

  #heard(): void {
    this.#lastAnswerMs = this.#options.clock.now();
  }

  /**
   * Asks for no more work while the backend says so; what runs goes on to its
   * end. So does what an ask that was on its way still brings: the backend
   * gave it before the drain, or after it.
   */
  #drain(draining: boolean): void {
    if (draining) {
      this.#resumed ??= Promise.withResolvers();
    } else {
      this.#resumed?.resolve();
      this.#resumed = undefined;
    }
  }

  /**
   * A runner that has not reached the backend for two lease lives has lost its
   * leases for sure, and stops the work. It is patient, for a backend that
   * restarts finds its jobs alive; a job that another runner has taken over
   * meanwhile is safe all the same: what this one writes is fenced, and its
   * job token is dead. One failure tells nothing: a machine that was suspended
   * finds its calls too late, and its backend alive.
   */
  #giveUpWhenSilent(runs: readonly JobRun[]): void {
    const silentMs = this.#options.clock.now() - this.#lastAnswerMs;
    if (this.#failedBeats < 2 || silentMs < 2 * this.#leaseTtlMs) return;
    for (const run of runs) run.giveUp();
  }

  #giveUpRefused(error: unknown): void {
    const { onRefused } = this.#options;
    if (onRefused === undefined) return;
    for (const run of this.#runs.keys()) run.fence(error);
    onRefused(error);
  }

  /** Repeats a step until the signal aborts; after a failure it waits, longer each time. */
  async #forever(signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        await step();
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        const { reason, message } = toDevmeshError(error);
        if (isRefused(reason)) this.#giveUpRefused(error);
        failures += 1;
        const level = failures === 1 ? "warn" : "debug";
        this.#options.logger[level]({ reason, detail: message }, "a call to the backend failed");
        // Ends at once when the loop shall end.
        const wait = Math.min(2_000, 100 * 2 ** failures);
        await this.#options.clock.sleep(wait, signal).catch(() => {});
      }
    }
  }
}

/** The token is unknown, revoked or expired, or may not run jobs. */
function isRefused(reason: Reason): boolean {
  return reason === "UNAUTHENTICATED" || reason === "SCOPE_MISSING";
}

function isUnknownRunner(error: unknown): boolean {
  return toDevmeshError(error).reason === "NOT_FOUND";
}

/** Resolves when the signal aborts. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
