/** One attempt of one job, from its lease to its result. How it is judged is left to `verdict.ts`. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { AgentAnswer } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import {
  type JobResult,
  JobResultSchema,
  type SandboxUsage,
  SandboxUsageSchema,
} from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { Lease } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { DevmeshError, toDevmeshError } from "@devmesh/mesh/errors";
import type { SandboxDriver } from "../drivers/driver.ts";
import type { EgressBytes } from "../egress/upstreams.ts";
import type { Host } from "../sandboxes/host.ts";
import { AgentAnswers } from "./agent/answers.ts";
import { runAttempt } from "./attempt.ts";
import type { AttemptTools, Removal } from "./attempt-input.ts";
import { CancelTrail } from "./cancel-trail.ts";
import { EventShipper } from "./event-shipper.ts";
import { isolationOf, runTimeoutMs, silenceTimeoutMs, toProtoIsolation } from "./job-limits.ts";
import { LogDigest } from "./log-digest.ts";
import { RunDeadline } from "./run-deadline.ts";
import { SilenceWatch } from "./silence-watch.ts";
import { untilAnswered } from "./until-answered.ts";
import { judge, judgeFailure, judgeStop, type Stop, type Verdict } from "./verdict.ts";

/** What every attempt needs. */
export interface JobRunOptions extends AttemptTools {
  readonly host: Host;
  /** Where attempts keep their files; each has a folder of its own. */
  readonly stateDir: string;
  /** A clock that never goes back, in milliseconds, for the steps of a cancel. */
  readonly monotonicMs: () => number;
}

/** The longest wait for an answer about the end; shorter where leases live shorter. */
const maxTellMs = 10_000;

/** An attempt that runs. */
export class JobRun {
  readonly #options: JobRunOptions;
  readonly #lease: Lease;
  readonly #beatSettled: () => Promise<unknown>;
  readonly jobId: string;
  readonly epoch: number;
  /** Aborts when nothing may be written any more. Comes with `#killed`. */
  readonly #fenced = new AbortController();
  /** Aborts when the work shall be gone at once. Comes with `#stop`. */
  readonly #killed = new AbortController();
  readonly #stop = new AbortController();
  readonly #shipper: EventShipper;
  readonly #digest = new LogDigest();
  readonly #trail: CancelTrail;
  readonly #answers = new AgentAnswers();
  #stoppedBy: Stop | undefined;
  #driver: SandboxDriver | undefined;
  #processesLeft = 0;
  /** What went over the egress proxy. Undefined: there was none. */
  #egress: EgressBytes | undefined;
  #isTelling = false;

  /** `beatSettled` resolves when the heartbeat that is on its way, if one is, has its answer or none. */
  constructor(options: JobRunOptions, lease: Lease, beatSettled: () => Promise<unknown>) {
    this.#options = options;
    this.#lease = lease;
    this.#beatSettled = beatSettled;
    this.jobId = lease.job?.id ?? "";
    this.epoch = lease.epoch;
    this.#trail = new CancelTrail(options.monotonicMs);
    const { signal } = this.#killed;
    this.#shipper = new EventShipper({
      firstSeq: lease.nextSeq,
      clock: options.clock,
      signal,
      append: async (events) => {
        const request = { lease: this.#ref, events: [...events] };
        await options.backend.runners.appendEvents(request, { timeoutMs: 10_000, signal });
      },
      // Work that can tell nothing is of no use: its lease runs out.
      onFailure: (error) => {
        if (!signal.aborted) this.fence(error);
      },
    });
    // Asked for between the queue and this host: no heartbeat need tell it.
    if (lease.job?.cancelRequested === true) this.cancel();
  }

  /**
   * True while heartbeats shall renew the lease. Not while its end is being
   * told: a renewal that comes in after the end would be fenced for nothing.
   */
  get isRenewed(): boolean {
    return !this.#isTelling;
  }

  /** The lease is lost: the work is killed and nothing more is written. */
  fence(reason: unknown = new DevmeshError("FENCED", "the lease is lost")): void {
    this.#fenced.abort(reason);
    this.#kill(reason);
  }

  /**
   * The backend was not heard of for so long that the lease must be lost. The
   * work is killed; the job is given back when the backend is there again,
   * which is a fenced write if the lease is lost indeed.
   */
  giveUp(): void {
    this.#kill(new DevmeshError("FENCED", "the backend was not heard of"));
  }

  /**
   * Somebody wants it cancelled. In every state: while the sandbox is made or
   * filled, the attempt ends there; while a program runs, SIGTERM, the grace,
   * SIGKILL; once the work has ended by itself, its own end is told. Any call
   * but the first changes nothing.
   */
  cancel(): void {
    this.#trail.deliver();
    this.#stopFor({ kind: "cancel" });
  }

  /** The last answer that somebody gave to the job's agent. */
  answer(answer: AgentAnswer): void {
    this.#answers.give(answer);
  }

  /** The runner shuts down: unless its work has ended, the job goes back to the queue. */
  shutDown(): void {
    this.#stopFor({ kind: "shutdown" });
  }

  /** Does the attempt to its end; never throws. The sandbox is gone before the result is told. */
  async run(): Promise<void> {
    const folder = join(this.#options.stateDir, "runs", `${this.jobId}-${this.epoch}`);
    try {
      await this.#runAndTell(folder);
    } catch (error) {
      this.#logEnd(error, "the attempt ended without a result");
    }
    try {
      await rm(folder, { recursive: true, force: true });
    } catch (error) {
      this.#logEnd(error, "the attempt's folder could not be removed");
    }
  }

  async #runAndTell(folder: string): Promise<void> {
    try {
      const verdict = await this.#verdictOf(folder);
      await this.#shipper.flush();
      if (verdict === undefined) await this.#release("the runner shut down");
      else await this.#finish(this.#make(verdict));
    } catch (error) {
      if (!this.#killed.signal.aborted || this.#fenced.signal.aborted) throw error;
      await this.#release("the runner did not reach the backend");
      this.#logEnd(error, "the attempt was given up");
    }
  }

  get #ref() {
    return { jobId: this.jobId, epoch: this.epoch };
  }

  #kill(reason: unknown): void {
    this.#killed.abort(reason);
    this.#stop.abort(reason);
  }

  #stopFor(stop: Stop): void {
    this.#stoppedBy ??= stop;
    this.#stop.abort(new DevmeshError("CANCELLED", `stopped: ${this.#stoppedBy.kind}`));
  }

  /** How the attempt ended; undefined if the job goes back to the queue. Throws when the work is killed. */
  async #verdictOf(folder: string): Promise<Verdict | undefined> {
    const { clock, host } = this.#options;
    const ended = new AbortController();
    let silence: SilenceWatch | undefined;
    try {
      const spec = this.#lease.job?.spec;
      if (spec === undefined) throw new DevmeshError("INVALID_FIELD", "lease.job.spec: is missing");
      const deadline = new RunDeadline(clock, runTimeoutMs(spec));
      void deadline.watch(ended.signal, () => {
        this.#stopFor({ kind: "timeout", limitMs: deadline.limitMs });
      });
      const silent = { kind: "silent", limitMs: silenceTimeoutMs(spec) } as const;
      const { limitMs } = silent;
      silence = new SilenceWatch({ limitMs, clock, onSilent: () => this.#stopFor(silent) });
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
        silence,
        deadline,
        answers: this.#answers,
        folder,
        stop: this.#stop.signal,
        fenced: this.#killed.signal,
        graceMs: this.#options.graceMs,
        onStopStep: (step) => this.#trail.step(step),
        onRemoved: (removal) => this.#noteRemoval(removal),
        onEgress: (bytes) => {
          this.#egress = bytes;
        },
        keeps: ({ stopped }) => !(stopped && this.#stoppedBy?.kind === "shutdown"),
      });
      return judge(outcome, this.#stoppedBy);
    } catch (error) {
      this.#killed.signal.throwIfAborted();
      if (this.#stoppedBy !== undefined) return judgeStop(this.#stoppedBy);
      const { reason, cause } = toDevmeshError(error);
      if (reason === "INTERNAL") {
        this.#options.logger.error({ jobId: this.jobId, err: cause }, "the attempt failed");
      }
      return judgeFailure(error);
    } finally {
      ended.abort();
      silence?.close();
    }
  }

  #noteRemoval({ isRemoved, processesLeft }: Removal): void {
    this.#processesLeft = processesLeft;
    if (isRemoved) this.#trail.step("sandbox_removed");
  }

  #make(verdict: Verdict): JobResult {
    const driver = this.#driver;
    const cancel = this.#trail.receipt(this.#processesLeft);
    return create(JobResultSchema, {
      ...verdict,
      ...this.#digest.current(),
      ...(cancel && { cancel }),
      ...(this.#egress && { usage: withEgress(verdict.usage, this.#egress) }),
      driver: driver?.name ?? "",
      isolation: driver === undefined ? Isolation.UNSPECIFIED : toProtoIsolation(driver.isolation),
    });
  }

  #finish(result: JobResult): Promise<unknown> {
    const request = { lease: this.#ref, seq: this.#shipper.nextSeq, result };
    return this.#tell((options) => this.#options.backend.runners.finishJob(request, options));
  }

  #release(detail: string): Promise<unknown> {
    const request = { lease: this.#ref, detail };
    return this.#tell((options) => this.#options.backend.runners.releaseJob(request, options));
  }

  #tell(
    call: (options: { timeoutMs: number; signal: AbortSignal }) => Promise<unknown>,
  ): Promise<unknown> {
    const { clock } = this.#options;
    const { signal } = this.#fenced;
    const { ttl } = this.#lease;
    // A try that hangs ends in time for the lease to be renewed.
    const timeoutMs = ttl === undefined ? maxTellMs : Math.min(maxTellMs, durationMs(ttl) / 2);
    const attempt = async () => {
      this.#isTelling = true;
      try {
        await this.#beatSettled();
        return await call({ timeoutMs, signal });
      } catch (error) {
        this.#isTelling = false;
        throw error;
      }
    };
    return untilAnswered(attempt, { clock, signal });
  }

  #logEnd(error: unknown, text: string): void {
    const { reason, message, cause } = toDevmeshError(error);
    const { jobId, epoch } = this;
    this.#options.logger.warn({ jobId, epoch, reason, detail: message, err: cause }, text);
  }
}

function withEgress(usage: Verdict["usage"], bytes: EgressBytes): SandboxUsage {
  return create(SandboxUsageSchema, {
    ...usage,
    egressBytes: BigInt(bytes.egressBytes),
    ingressBytes: BigInt(bytes.ingressBytes),
  });
}
