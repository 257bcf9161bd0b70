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
import { DevmeshError, isRetryable, toDevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import type { SandboxDriver } from "../drivers/driver.ts";
import type { Host } from "../sandboxes/host.ts";
import { type AttemptOutcome, type AttemptTools, runAttempt } from "./attempt.ts";
import { EventShipper } from "./event-shipper.ts";
import { isolationOf, runTimeoutMs, toProtoIsolation } from "./job-limits.ts";
import { LogDigest } from "./log-digest.ts";

/** The patch in the result is cut here; the artifact has all of it. */
const maxInlinePatch = 200 * 1024;

type ResultInit = MessageInitShape<typeof JobResultSchema>;

/** What every attempt needs. */
export interface JobRunOptions extends AttemptTools {
  readonly host: Host;
  readonly clock: Clock;
  readonly logger: Logger;
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
  #stoppedBy: "cancel" | "timeout" | "shutdown" | undefined;
  #driver: SandboxDriver | undefined;

  constructor(options: JobRunOptions, lease: Lease) {
    this.#options = options;
    this.#lease = lease;
    this.jobId = lease.job?.id ?? "";
    this.epoch = lease.epoch;
    this.#shipper = new EventShipper({
      firstSeq: lease.nextSeq,
      clock: options.clock,
      signal: this.#fenced.signal,
      append: async (events) => {
        const request = { lease: this.#ref, events: [...events] };
        await options.backend.runners.appendEvents(request, { timeoutMs: 10_000 });
      },
    });
  }

  /** The lease is lost: the work is killed and nothing more is written. */
  fence(): void {
    this.#fenced.abort(new DevmeshError("FENCED", "the lease is lost"));
    this.#stop.abort(this.#fenced.signal.reason);
  }

  /** Somebody wants it cancelled. */
  cancel(): void {
    this.#stopFor("cancel");
  }

  /** The runner shuts down: the job goes back to the queue. */
  shutDown(): void {
    this.#stopFor("shutdown");
  }

  /** Does the attempt to its end; never throws. The sandbox is gone before the result is told. */
  async run(): Promise<void> {
    const folder = join(this.#options.stateDir, "runs", `${this.jobId}-${this.epoch}`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o711 });
      const result = await this.#result(folder);
      if (this.#stoppedBy === "shutdown") await this.#release();
      else await this.#finish(result);
    } catch (error) {
      const { reason, message, cause } = toDevmeshError(error);
      const facts = { jobId: this.jobId, epoch: this.epoch, reason, detail: message, err: cause };
      this.#options.logger.warn(facts, "the attempt ended without a result");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  get #ref() {
    return { jobId: this.jobId, epoch: this.epoch };
  }

  #stopFor(reason: "cancel" | "timeout" | "shutdown"): void {
    this.#stoppedBy ??= reason;
    this.#stop.abort(new DevmeshError("CANCELLED", `stopped: ${this.#stoppedBy}`));
  }

  async #result(folder: string): Promise<JobResult> {
    const spec = this.#lease.job?.spec;
    if (spec === undefined) throw new DevmeshError("INVALID_FIELD", "lease.job.spec: is missing");
    const timer = setTimeout(() => this.#stopFor("timeout"), runTimeoutMs(spec));
    try {
      this.#driver = await this.#options.host.driverFor(isolationOf(spec.isolation));
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
      });
      return this.#judge(outcome);
    } catch (error) {
      return this.#judgeFailure(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #judge({ work, stored }: AttemptOutcome): JobResult {
    const { exit, agent, agentFailure } = work;
    const left = {
      exitCode: exit.exitCode,
      artifacts: [...stored.artifacts],
      ...(agent && { agent: { ...agent, patch: stored.patch.slice(0, maxInlinePatch) } }),
    };
    const stopped = this.#stopResult(left);
    if (stopped !== undefined) return stopped;
    if (exit.outOfMemory) {
      return this.#failed("OUT_OF_MEMORY", "the memory limit ended the program", left);
    }
    if (agentFailure !== "") return this.#failed("LIMIT", agentFailure, left);
    if (exit.exitCode !== 0) {
      return this.#failed("EXIT_STATUS", `the program ended with status ${exit.exitCode}`, left);
    }
    return this.#make(JobStatus.SUCCEEDED, "", "", left);
  }

  #judgeFailure(error: unknown): JobResult {
    const stopped = this.#stopResult({});
    if (stopped !== undefined) return stopped;
    const { reason, message, cause } = toDevmeshError(error);
    if (reason === "INTERNAL") {
      this.#options.logger.error({ jobId: this.jobId, err: cause }, "the attempt failed");
    }
    return this.#failed(reason, message, {});
  }

  #stopResult(left: ResultInit): JobResult | undefined {
    if (this.#stoppedBy === "cancel") {
      return this.#make(JobStatus.CANCELLED, "CANCELLED", "somebody cancelled it", left);
    }
    if (this.#stoppedBy === "timeout") {
      return this.#failed("TIMEOUT", "the run timeout was reached", left);
    }
    return undefined;
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
      message: message.slice(0, 2000),
      ...this.#digest.current(),
      driver: this.#driver?.name ?? "",
      isolation,
    });
  }

  async #finish(result: JobResult): Promise<void> {
    await this.#shipper.flush();
    const request = { lease: this.#ref, seq: this.#shipper.nextSeq, result };
    await this.#untilAnswered(() => this.#options.backend.runners.finishJob(request, callOptions));
  }

  async #release(): Promise<void> {
    await this.#shipper.flush();
    const request = { lease: this.#ref, detail: "the runner shut down" };
    await this.#untilAnswered(() => this.#options.backend.runners.releaseJob(request, callOptions));
  }

  /** A backend that is away is asked again until the lease is known to be lost. */
  async #untilAnswered(call: () => Promise<unknown>): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      this.#fenced.signal.throwIfAborted();
      try {
        await call();
        return;
      } catch (error) {
        if (!isRetryable(toDevmeshError(error).reason)) throw error;
        await this.#options.clock.sleep(Math.min(2_000, 50 * 2 ** attempt), this.#fenced.signal);
      }
    }
  }
}

const callOptions = { timeoutMs: 10_000 };
