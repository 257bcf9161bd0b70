/** This host's runner: presents itself, pulls leases, runs them, tells that it lives. */
import { hostname } from "node:os";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { toProtoIsolation } from "./job-limits.ts";
import { JobRun, type JobRunOptions } from "./job-run.ts";

/** How long one ask for work may wait; shorter while drivers are still being tried. */
const leaseWaitMs = { settled: 20_000, probing: 500 };

/** How long a stop waits for a backend that must hear of the jobs that go back. */
const giveUpMs = 20_000;

/** What a runner needs. */
export interface RunnerOptions extends JobRunOptions {
  readonly version: string;
  /** How many jobs it runs at once. */
  readonly capacity: number;
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
  #leasing: Promise<unknown> = Promise.resolve();
  #beating: Promise<unknown> = Promise.resolve();
  #heartbeatMs = 3_000;
  #lastAnswerMs = 0;
  #leaseTtlMs = 12_000;
  #registered = false;
  #allProbed = false;

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
    const giveUp = setTimeout(() => {
      for (const run of this.#runs.keys()) run.fence();
    }, giveUpMs);
    await this.#leasing;
    await Promise.all(this.#runs.values());
    clearTimeout(giveUp);
    this.#ended.abort();
    await this.#beating;
  }

  async #register(): Promise<void> {
    const { backend, host, version, capacity, clock } = this.#options;
    const rows = host.table();
    const { leaseTtl, heartbeatInterval } = await backend.runners.registerRunner(
      {
        runner: {
          id: this.id,
          host: hostname(),
          version,
          capacity,
          capabilities: rows.map((row) => ({ ...row, isolation: toProtoIsolation(row.isolation) })),
        },
      },
      { timeoutMs: 5_000, signal: this.#stopped.signal },
    );
    this.#leaseTtlMs = leaseTtl ? durationMs(leaseTtl) : this.#leaseTtlMs;
    this.#heartbeatMs = heartbeatInterval ? durationMs(heartbeatInterval) : this.#heartbeatMs;
    this.#lastAnswerMs = clock.now();
    this.#registered = true;
  }

  async #leaseForever(): Promise<void> {
    const { host } = this.#options;
    await host.ready();
    // Drivers that take longer are told as soon as they are known.
    void host.probe().then(() => {
      this.#allProbed = true;
      this.#registered = false;
    });
    await this.#forever(this.#stopped.signal, async () => {
      if (!this.#registered) await this.#register();
      const room = this.#options.capacity - this.#runs.size;
      if (room <= 0) {
        await Promise.race(this.#runs.values());
        return;
      }
      try {
        await this.#lease(room);
      } catch (error) {
        // A backend that does not know this runner any more gets to know it again.
        if (toDevmeshError(error).reason === "NOT_FOUND") this.#registered = false;
        throw error;
      }
    });
  }

  async #lease(room: number): Promise<void> {
    const { backend, host } = this.#options;
    const waitMs = this.#allProbed ? leaseWaitMs.settled : leaseWaitMs.probing;
    const available = host.table().filter((row) => row.available);
    const { leases } = await backend.runners.leaseJobs(
      {
        runnerId: this.id,
        maxJobs: room,
        isolations: available.map((row) => toProtoIsolation(row.isolation)),
        wait: durationFromMs(waitMs),
      },
      { timeoutMs: waitMs + 10_000, signal: this.#stopped.signal },
    );
    for (const lease of leases) {
      const run = new JobRun(this.#options, lease);
      const done = run.run().finally(() => this.#runs.delete(run));
      this.#runs.set(run, done);
      if (this.#stopped.signal.aborted) run.shutDown();
    }
  }

  /** Also while the last jobs go back: their leases must not run out before. */
  async #heartbeatForever(): Promise<void> {
    const { signal } = this.#ended;
    await this.#forever(signal, async () => {
      const { clock, backend } = this.#options;
      // Ends at once when there is nothing left to tell of.
      await clock.sleep(this.#heartbeatMs, signal).catch(() => {});
      if (signal.aborted) return;
      const runs = [...this.#runs.keys()];
      this.#fenceWhenSilent(runs);
      const leases = runs.map(({ jobId, epoch }) => ({ jobId, epoch }));
      const request = { runnerId: this.id, leases };
      const answer = await backend.runners.heartbeat(request, { timeoutMs: 5_000, signal });
      this.#lastAnswerMs = clock.now();
      answer.leases.forEach((state, i) => {
        if (state.fenced) runs[i]?.fence();
        else if (state.cancelRequested) runs[i]?.cancel();
      });
    });
  }

  /**
   * A runner that cannot reach the backend for two lease lives has lost its
   * leases for sure: it kills the work rather than let two runners do it.
   */
  #fenceWhenSilent(runs: readonly JobRun[]): void {
    if (this.#options.clock.now() - this.#lastAnswerMs < 2 * this.#leaseTtlMs) return;
    for (const run of runs) run.fence();
  }

  async #forever(signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        await step();
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        const { reason, message } = toDevmeshError(error);
        failures += 1;
        const level = failures === 1 ? "warn" : "debug";
        this.#options.logger[level]({ reason, detail: message }, "the backend does not answer");
        // Ends at once when the loop shall end.
        const wait = Math.min(2_000, 100 * 2 ** failures);
        await this.#options.clock.sleep(wait, signal).catch(() => {});
      }
    }
  }
}
