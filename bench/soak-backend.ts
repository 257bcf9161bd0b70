/** A backend in a process of its own, with a runner in this one that has no sandbox. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { type Lease, RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { freePort } from "../scripts/parts/free-port.ts";
import type { Figures, System } from "./bench.ts";
import { usageOf } from "./process-usage.ts";

const program = fileURLToPath(new URL("../cli/bin/devmesh.js", import.meta.url));

/** Jobs in flight at once. */
const inFlight = 16;

/** A backend that is given `jobs` in each round. */
export async function soakedBackend(jobs: number): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), "devmesh-bench-"));
  const port = await freePort();
  const secret = randomBytes(24).toString("base64url");
  const child = spawn(process.execPath, [program, "serve", "api"], {
    stdio: ["ignore", "ignore", openSync(join(folder, "log"), "a")],
    env: {
      ...process.env,
      HOME: folder,
      DEVMESH_DATA_DIR: folder,
      API_PORT: String(port),
      DEVMESH_SERVICE_TOKEN: secret,
      LOG_LEVEL: "warn",
    },
  });
  const endWithBench = () => child.kill("SIGKILL");
  process.once("exit", endWithBench);
  const url = `http://127.0.0.1:${port}`;
  await ready(url);
  const authorize: Interceptor = (next) => (req) => {
    req.header.set("authorization", `Bearer ${secret}`);
    return next(req);
  };
  const transport = createGrpcTransport({ baseUrl: url, interceptors: [authorize] });
  const work = new SoakWork(
    createClient(JobService, transport),
    createClient(RunnerService, transport),
  );
  await work.register();
  const taken: number[] = [];
  return {
    name: "devmesh serve api",
    async round(): Promise<Figures> {
      const startedAt = performance.now();
      await work.run(jobs);
      const jobsPerSecond = (jobs * 1000) / (performance.now() - startedAt);
      const { rssMiB } = usageOf(child.pid ?? 0);
      taken.push(rssMiB);
      return { jobsPerSecond, rssMiB, rssSlopeMiB: slopeOf(taken.slice(-6)) * (10_000 / jobs) };
    },
    async close() {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
      process.removeListener("exit", endWithBench);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Least squares: how much the values rise from one to the next. */
function slopeOf(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const spread = values.reduce((sum, _, i) => sum + (i - middle) ** 2, 0);
  const rise = values.reduce((sum, value, i) => sum + (i - middle) * (value - mean), 0);
  return spread === 0 ? 0 : rise / spread;
}

async function ready(url: string): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const isReady = await fetch(`${url}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    await sleep(100);
  }
  throw new Error("devmesh serve api did not become ready");
}

/** Hands jobs in, runs them in no time, and sees them end. */
class SoakWork {
  readonly #jobs: ReturnType<typeof createClient<typeof JobService>>;
  readonly #runners: ReturnType<typeof createClient<typeof RunnerService>>;
  readonly #runnerId = `run_${randomBytes(8).toString("hex")}`;

  constructor(
    jobs: ReturnType<typeof createClient<typeof JobService>>,
    runners: ReturnType<typeof createClient<typeof RunnerService>>,
  ) {
    this.#jobs = jobs;
    this.#runners = runners;
  }

  async register(): Promise<void> {
    const capabilities = [{ driver: "none", isolation: Isolation.PROCESS, available: true }];
    const runner = {
      id: this.#runnerId,
      host: "soak",
      version: "0",
      capacity: inFlight,
      capabilities,
    };
    await this.#runners.registerRunner({ runner });
  }

  async run(count: number): Promise<void> {
    let left = count;
    const callers = Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await this.#one();
    });
    await Promise.all(callers);
  }

  /** Hands one in and does the oldest one. */
  async #one(): Promise<void> {
    const work = { case: "command" as const, value: { argv: ["true"] } };
    const idempotencyKey = randomBytes(12).toString("hex");
    await this.#jobs.createJob({ spec: { work }, idempotencyKey });
    const wait = { seconds: 5n };
    const ask = { runnerId: this.#runnerId, maxJobs: 1, isolations: [Isolation.PROCESS], wait };
    const { leases } = await this.#runners.leaseJobs(ask);
    for (const lease of leases) await this.#do(lease);
  }

  async #do({ job, epoch, nextSeq }: Lease): Promise<void> {
    const lease = { jobId: job?.id ?? "", epoch };
    const data = Buffer.from("a line of the job\n".repeat(20));
    const kind = { case: "log" as const, value: { stream: LogStream.STDOUT, data } };
    await this.#runners.appendEvents({ lease, events: [{ seq: nextSeq, kind }] });
    const result = { outcome: JobStatus.SUCCEEDED, exitCode: 0 };
    await this.#runners.finishJob({ lease, seq: nextSeq + 1, result });
    // One in ten is watched to its end.
    if (nextSeq > 0 && Math.random() > 0.1) return;
    for await (const { step } of this.#jobs.watchJob({ id: lease.jobId })) {
      if (step.case === "event" && step.value.kind.case === "result") return;
    }
  }
}
