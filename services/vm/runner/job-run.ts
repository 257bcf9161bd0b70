/** One attempt of one job, from its lease to its result. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Isolation,
  type JobResult,
  JobResultSchema,
  JobStatus,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Lease } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { SandboxDriver } from "../drivers/driver.ts";
import type { Host } from "../sandboxes/host.ts";
import { type AttemptOutcome, type AttemptTools, runAttempt } from "./attempt.ts";
import { cutText } from "./cut-text.ts";
import { EventShipper } from "./event-shipper.ts";
import { isolationOf, runTimeoutMs, toProtoIsolation } from "./job-limits.ts";
import { LogDigest } from "./log-digest.ts";
import { untilAnswered } from "./until-answered.ts";

/** The patch in the result is cut here, in bytes: the contract's bound. The artifact has all of it. */
const maxInlinePatchBytes = 256 * 1024;

/** What a failure says in words is cut here, in bytes. */
const maxMessageBytes = 2_000;

type ResultInit = MessageInitShape<typeof JobResultSchema>;

/** Why work is ended before its own end. */
type Stop = "cancel" | "timeout" | "shutdown";

/** What every attempt needs. */
export interface JobRunOptions extends AttemptTools {
  readonly host: Host;
  /** Where attempts keep their files; each has a folder of its own. */
  readonly stateDir: string;
}

/** An attempt that runs. */
export class JobRun {
  readonly #options: JobRunOptions;
  readonly #lease: Lease;
  readonly jobId: string;
  readonly epoch: number;
  readonly #fenced = new AbortController();
  readonly #stop = new AbortController();
  readonly #shipper: EventShipper;
  readonly #digest = new LogDigest();
  #stoppedBy: Stop | undefined;
  #driver: SandboxDriver | undefined;

  constructor(options: JobRunOptions, lease: Lease) {
    this.#options = options;
    this.#lease = lease;
    this.jobId = lease.job?.id ?? "";
    this.epoch = lease.epoch;
    const signal = this.#fenced.signal;
    this.#shipper = new EventShipper({
      firstSeq: lease.nextSeq,
      clock: options.clock,
      signal,
      append: async (events) => {
        const request = { lease: this.#ref, events: [...events] };
        await options.backend.runners.appendEvents(request, { timeoutMs: 10_000, signal });
      },
      // Work that can tell nothing is of no use: its lease runs out.
      onFailure: (error) => this.fence(error),
    });
  }

  /** The lease is lost: the work is killed and nothing more is written. */
  fence(reason: unknown = new DevmeshError("FENCED", "the lease is lost")): void {
    this.#fenced.abort(reason);
    this.#stop.abort(reason);
  }

  /** Somebody wants it cancelled. Changes nothing once the work has ended by itself. */
  cancel(): void {
    this.#stopFor("cancel");
  }

  /** The runner shuts down: unless its work has ended, the job goes back to the queue. */
  shutDown(): void {
    this.#stopFor("shutdown");
  }

  /** Does the attempt to its end; never throws. The sandbox is gone before the result is told. */
  async run(): Promise<void> {
    const folder = join(this.#options.stateDir, "runs", `${this.jobId}-${this.epoch}`);
    try {
      const result = await this.#resultOf(folder);
      await this.#shipper.flush();
      if (result === undefined) await this.#release();
      else await this.#finish(result);
    } catch (error) {
      this.#logEnd(error, "the attempt ended without a result");
    }
    try {
      await rm(folder, { recursive: true, force: true });
    } catch (error) {
      this.#logEnd(error, "the attempt's folder could not be removed");
    }
  }

  get #ref() {
    return { jobId: this.jobId, epoch: this.epoch };
  }

  #stopFor(reason: Stop): void {
    this.#stoppedBy ??= reason;
    this.#stop.abort(new DevmeshError("CANCELLED", `stopped: ${this.#stoppedBy}`));
  }

  /** How the attempt ended; undefined if the job goes back to the queue. Throws when the lease is lost. */
  async #resultOf(folder: string): Promise<JobResult | undefined> {
    const { clock, host } = this.#options;
    const ended = new AbortController();
    try {
      const spec = this.#lease.job?.spec;
      if (spec === undefined) throw new DevmeshError("INVALID_FIELD", "lease.job.spec: is missing");
      clock.sleep(runTimeoutMs(spec), ended.signal).then(
        () => this.#stopFor("timeout"),
        () => {
          // The attempt ended before.
        },
      );
      this.#driver = await host.driverFor(isolationOf(spec.isolation));
      await mkdir(folder, { recursive: true, mode: 0o711 });
      const outcome = await runAttempt({
        tools: this.#options,
        lease: this.#lease,
        jobId: this.jobId,
        spec,
        driver: this.#driver,
        shipper: this.#shipper,
        digest: this.#digest,
        folder,
        stop: this.#stop.signal,
        fenced: this.#fenced.signal,
        keeps: ({ stopped }) => !(stopped && this.#stoppedBy === "shutdown"),
      });
      return this.#judge(outcome);
    } catch (error) {
      this.#fenced.signal.throwIfAborted();
      if (this.#stoppedBy !== undefined) return this.#stopResult(this.#stoppedBy, {});
      return this.#judgeFailure(error);
    } finally {
      ended.abort();
    }
  }

  #judge({ work, stored, storeFailure }: AttemptOutcome): JobResult | undefined {
    const { exit, stopped, agent, agentFailure } = work;
    const patch = cutText(stored.patch, maxInlinePatchBytes);
    const left: ResultInit = {
      exitCode: exit.exitCode,
      artifacts: [...stored.artifacts],
      ...(agent && { agent: { ...agent, patch } }),
    };
    if (stopped && this.#stoppedBy !== undefined) return this.#stopResult(this.#stoppedBy, left);
    if (exit.outOfMemory) {
      return this.#failed("OUT_OF_MEMORY", "the memory limit ended the program", left);
    }
    if (agentFailure !== undefined) {
      return this.#failed(agentFailure.reason, agentFailure.message, left);
    }
    if (exit.exitCode !== 0) {
      return this.#failed("EXIT_STATUS", `the program ended with status ${exit.exitCode}`, left);
    }
    if (storeFailure !== undefined) {
      const { reason, message } = storeFailure;
      return this.#failed(reason, `the work is done, but its files are not kept: ${message}`, left);
    }
    return this.#make(JobStatus.SUCCEEDED, "", "", left);
  }

  #judgeFailure(error: unknown): JobResult {
    const { reason, message, cause } = toDevmeshError(error);
    if (reason === "INTERNAL") {
      this.#options.logger.error({ jobId: this.jobId, err: cause }, "the attempt failed");
    }
    return this.#failed(reason, message, {});
  }

  #stopResult(stop: Stop, left: ResultInit): JobResult | undefined {
    switch (stop) {
      case "cancel":
        // The store says who cancelled it and why.
        return this.#make(JobStatus.CANCELLED, "CANCELLED", "", left);
      case "timeout":
        return this.#failed("TIMEOUT", "the run timeout was reached", left);
      case "shutdown":
        return undefined;
    }
  }

  #failed(reason: string, message: string, left: ResultInit): JobResult {
    return this.#make(JobStatus.FAILED, reason, message, left);
  }

  #make(outcome: JobStatus, reason: string, message: string, left: ResultInit): JobResult {
    const isolation =
      this.#driver === undefined ? Isolation.UNSPECIFIED : toProtoIsolation(this.#driver.isolation);
    return create(JobResultSchema, {
      ...left,
      outcome,
      reason,
      message: cutText(message, maxMessageBytes),
      ...this.#digest.current(),
      driver: this.#driver?.name ?? "",
      isolation,
    });
  }

  #finish(result: JobResult): Promise<unknown> {
    const request = { lease: this.#ref, seq: this.#shipper.nextSeq, result };
    return this.#tell((options) => this.#options.backend.runners.finishJob(request, options));
  }

  #release(): Promise<unknown> {
    const request = { lease: this.#ref, detail: "the runner shut down" };
    return this.#tell((options) => this.#options.backend.runners.releaseJob(request, options));
  }

  #tell(
    call: (options: { timeoutMs: number; signal: AbortSignal }) => Promise<unknown>,
  ): Promise<unknown> {
    const { clock } = this.#options;
    const { signal } = this.#fenced;
    return untilAnswered(() => call({ timeoutMs: 10_000, signal }), { clock, signal });
  }

  #logEnd(error: unknown, text: string): void {
    const { reason, message, cause } = toDevmeshError(error);
    const { jobId, epoch } = this;
    this.#options.logger.warn({ jobId, epoch, reason, detail: message, err: cause }, text);
  }
}
