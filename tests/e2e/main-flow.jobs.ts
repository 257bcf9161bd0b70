/** Creating, listing, ending and repeating jobs. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { DevmeshApiError, type JobInput, JobStatus } from "../../sdk/ts/src/node.ts";
import { capacity, type FlowPlatform, type GetPlatform } from "./main-flow.ts";
import { processesWith } from "./processes.ts";
import { until } from "./wait.ts";
import { getJobByGrpc } from "./watchers.ts";

/** The error of a call that must fail. */
export async function refusal(call: Promise<unknown>): Promise<DevmeshApiError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof DevmeshApiError) return error;
    throw error;
  }
  throw new Error("the call was not refused");
}

/** A job that says `on` and then waits for ever; the marker finds its processes on the host. */
export function endlessJob(marker: string): JobInput {
  const program = `echo on; while :; do sleep 1; done # ${marker}`;
  return { command: ["sh", "-c", program] };
}

/** Starts one and resolves when it has said `on`. */
async function startEndless({ devmesh }: FlowPlatform, marker: string): Promise<string> {
  const { jobId } = await devmesh.jobs.create(endlessJob(marker));
  for await (const { kind } of devmesh.jobs.watch(jobId)) if (kind.case === "log") break;
  return jobId;
}

/** The tests. */
export function jobTests(get: GetPlatform): void {
  it("makes one job for one key, also when asked many times at once", async () => {
    const { devmesh } = get();
    const options = { idempotencyKey: randomUUID() };
    const input: JobInput = { command: ["true"], labels: { flow: "keys" } };
    const made = await Promise.all(
      Array.from({ length: 8 }, () => devmesh.jobs.create(input, options)),
    );
    expect(new Set(made.map(({ jobId }) => jobId)).size).to.equal(1);
    expect(made.filter(({ replayed }) => !replayed)).to.have.length(1);
    const other = await refusal(devmesh.jobs.create({ command: ["false"] }, options));
    expect(other.reason).to.equal("KEY_REUSED");
  });

  it("runs a program and answers its exit status", async () => {
    const { devmesh, url, token } = get();
    const { jobId } = await devmesh.jobs.create({ command: ["sh", "-c", "exit 7"] });
    const result = await devmesh.jobs.wait(jobId);
    expect(result).to.include({ outcome: JobStatus.FAILED, exitCode: 7, reason: "EXIT_STATUS" });
    const { job } = await getJobByGrpc({ url, token, id: jobId });
    expect(job).to.deep.include({ id: jobId, status: JobStatus.FAILED, attempt: 1 });
    expect(job?.result?.exitCode).to.equal(7);
  });

  it("lists jobs newest first, by page and by status", async () => {
    const { devmesh } = get();
    const made: string[] = [];
    for (let i = 0; i < 3; i++) {
      made.unshift((await devmesh.jobs.create({ command: ["true"] })).jobId);
    }
    await Promise.all(made.map((id) => devmesh.jobs.wait(id)));
    const listed: string[] = [];
    for await (const { id } of devmesh.jobs.list({ pageSize: 2 })) listed.push(id);
    expect(listed.slice(0, 3)).to.deep.equal(made);
    expect(new Set(listed).size).to.equal(listed.length);
    expect(listed).to.deep.equal(listed.toSorted().toReversed());
    for await (const { status } of devmesh.jobs.list({ statuses: ["failed"] })) {
      expect(status).to.equal(JobStatus.FAILED);
    }
  });

  it("ends a job at its time limit", async () => {
    const { devmesh } = get();
    const input: JobInput = { command: ["sleep", "600"], limits: { runTimeoutMs: 300 } };
    const { jobId } = await devmesh.jobs.create(input);
    const result = await devmesh.jobs.wait(jobId);
    expect(result).to.include({ outcome: JobStatus.FAILED, reason: "TIMEOUT" });
  });

  it("says COMMAND_NOT_FOUND for a program that is not there", async () => {
    const { devmesh } = get();
    const { jobId } = await devmesh.jobs.create({ command: ["no-such-program"] });
    const result = await devmesh.jobs.wait(jobId);
    expect(result).to.include({ outcome: JobStatus.FAILED, reason: "COMMAND_NOT_FOUND" });
    expect(result.message).to.include("no-such-program");
  });

  it("cancels a waiting job at once and a running one with all its processes", async () => {
    const platform = get();
    const { devmesh } = platform;
    const markers = Array.from({ length: capacity }, () => randomUUID());
    const running = await Promise.all(markers.map((marker) => startEndless(platform, marker)));
    const waiting = await devmesh.jobs.create({ command: ["true"] });
    const cancelled = await devmesh.jobs.cancel(waiting.jobId);
    expect(cancelled).to.include({ status: JobStatus.CANCELLED, attempt: 0 });

    for (const marker of markers) expect(processesWith(marker)).to.not.deep.equal([]);
    for (const id of running) await devmesh.jobs.cancel(id, { detail: "enough" });
    for (const id of running) {
      const result = await devmesh.jobs.wait(id);
      expect(result).to.include({ outcome: JobStatus.CANCELLED, reason: "CANCELLED" });
    }
    // The sandbox is gone before the result is told.
    for (const marker of markers) expect(processesWith(marker)).to.deep.equal([]);
    expect(await devmesh.jobs.cancel(waiting.jobId)).to.include({ status: JobStatus.CANCELLED });
    const done = await devmesh.jobs.create({ command: ["true"] });
    await devmesh.jobs.wait(done.jobId);
    const late = await refusal(devmesh.jobs.cancel(done.jobId));
    expect(late.reason).to.equal("WRONG_STATE");
  });

  it("does an ended job again as a new job, once for a key", async () => {
    const { devmesh } = get();
    const { jobId } = await devmesh.jobs.create({ command: ["sh", "-c", "echo again; exit 1"] });
    await devmesh.jobs.wait(jobId);
    const options = { idempotencyKey: randomUUID() };
    const first = await devmesh.jobs.retry(jobId, options);
    const second = await devmesh.jobs.retry(jobId, options);
    expect(first.jobId).to.not.equal(jobId);
    expect(second).to.include({ jobId: first.jobId, replayed: true });
    expect((await devmesh.jobs.wait(first.jobId)).exitCode).to.equal(1);
    const running = await devmesh.jobs.create(endlessJob(randomUUID()));
    const early = await refusal(devmesh.jobs.retry(running.jobId));
    expect(early.reason).to.equal("WRONG_STATE");
    await devmesh.jobs.cancel(running.jobId);
    await devmesh.jobs.wait(running.jobId);
  });

  it("leaves an audit row for each change, with its actor and its request", async () => {
    const { devmesh } = get();
    const me = (await devmesh.tokens.whoami()).id;
    const { jobId } = await devmesh.jobs.create({ command: ["sleep", "600"] });
    await devmesh.jobs.cancel(jobId);
    await devmesh.jobs.wait(jobId);
    const retried = await devmesh.jobs.retry(jobId);
    await devmesh.jobs.cancel(retried.jobId);
    const wanted = [
      `job.create ${jobId}`,
      `job.cancel ${jobId}`,
      `job.retry ${retried.jobId}`,
      `job.cancel ${retried.jobId}`,
    ];
    await until("the audit rows are there", async () => {
      const rows = await auditRows(get());
      const mine = rows.filter(({ actor, outcome }) => actor === me && outcome === "ok");
      const found = mine.map(({ action, resource }) => `${action} ${resource}`);
      expect(mine.every(({ correlationId }) => correlationId !== "")).to.equal(true);
      return wanted.every((row) => found.includes(row));
    });
  });
}

/** The newest audit rows. */
export async function auditRows({ devmesh }: FlowPlatform) {
  return devmesh.audit.list({ pageSize: 200 }).toArray(200);
}
