/** A runner that a test plays by hand: it registers, takes one job at a time, writes and ends it. */
import { createHash } from "node:crypto";
import { create, type DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { trueSpec } from "./bed.ts";

/** Makes clients of any service, with the owner's token. */
export type ClientOf = <T extends DescService>(service: T) => Client<T>;

/** A piece of output: text or bytes, on stdout unless it says stderr. */
export interface Piece {
  readonly data: string | Uint8Array;
  readonly stream?: "stdout" | "stderr";
}

/** A job in the runner's hands. */
export interface HandJob {
  readonly id: string;
  /** Appends each piece as one event. */
  write(...pieces: readonly Piece[]): Promise<void>;
  /** Ends it as SUCCEEDED with the digest of what was written; answers the last number. */
  finish(): Promise<number>;
  /** Gives it back to the queue. */
  release(): Promise<void>;
}

const mostInOneCall = 2 << 20;

/** A registered runner of one deployment. */
export class HandRunner {
  readonly #clientOf: ClientOf;
  readonly #id: string;

  private constructor(clientOf: ClientOf, id: string) {
    this.#clientOf = clientOf;
    this.#id = id;
  }

  static async register(clientOf: ClientOf, id = "run_hand"): Promise<HandRunner> {
    const capabilities = [{ driver: "d", isolation: Isolation.PROCESS, available: true }];
    const about = { id, host: "h", version: "0", capacity: 1, capabilities };
    await clientOf(RunnerService).registerRunner({ runner: create(AgentSchema, about) });
    return new HandRunner(clientOf, id);
  }

  /** Hands a job in and takes it. Nothing else may be queued. */
  async start(): Promise<HandJob> {
    await this.#clientOf(JobService).createJob({ spec: trueSpec });
    return this.take();
  }

  /** Takes the job that is queued. */
  async take(): Promise<HandJob> {
    const runners = this.#clientOf(RunnerService);
    const isolations = [Isolation.PROCESS];
    const { leases } = await runners.leaseJobs({ runnerId: this.#id, maxJobs: 1, isolations });
    const [leased] = leases;
    if (leased?.job === undefined) throw new Error("no job was queued");
    const id = leased.job.id;
    const lease = { jobId: id, epoch: leased.epoch };
    const hash = createHash("sha256");
    let bytes = 0;
    let seq = leased.nextSeq;
    return {
      id,
      async write(...pieces) {
        let size = 0;
        let batch: object[] = [];
        const flush = async () => {
          if (batch.length > 0) await runners.appendEvents({ lease, events: batch });
          batch = [];
          size = 0;
        };
        for (const { data, stream } of pieces) {
          const output = typeof data === "string" ? Buffer.from(data) : data;
          hash.update(output);
          bytes += output.length;
          const name = stream === "stderr" ? LogStream.STDERR : LogStream.STDOUT;
          const kind = { case: "log" as const, value: { stream: name, data: output } };
          batch.push({ seq, kind });
          seq += 1;
          size += output.length;
          if (size > mostInOneCall || batch.length === 2_000) await flush();
        }
        await flush();
      },
      async finish() {
        const logSha256 = hash.copy().digest("hex");
        const result = { outcome: JobStatus.SUCCEEDED, logSha256, logBytes: BigInt(bytes) };
        await runners.finishJob({ lease, seq, result });
        return seq;
      },
      release: async () => {
        await runners.releaseJob({ lease, detail: "given back" });
      },
    };
  }
}
