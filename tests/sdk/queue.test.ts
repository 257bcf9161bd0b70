/** Conditions of jobs, the queue, the runners, and retries of many: as the contract gets and gives them. */
import { createRouterTransport } from "@connectrpc/connect";
import { AgentStatus, createDevmesh, type JobInput, JobStatus } from "@devmesh/sdk";
import { expect } from "chai";
import { collect } from "./collect.ts";
import { FakeDevmesh, ownerSecret } from "./fake/fake-devmesh.ts";

describe("sdk", () => {
  let fake: FakeDevmesh;
  beforeEach(() => {
    fake = new FakeDevmesh();
  });

  const client = () =>
    createDevmesh({
      baseUrl: "http://localhost",
      token: ownerSecret,
      transport: (setup) =>
        createRouterTransport(fake.routes, {
          router: { interceptors: fake.interceptors },
          transport: { interceptors: setup.interceptors },
        }),
    });

  it("hands every condition of a job in, and none that was not said", async () => {
    const { jobs } = client();
    const specOf = async (input: JobInput) => (await jobs.create(input)).job.spec;
    const full = await specOf({
      command: ["echo"],
      priority: -3,
      startDelayMs: 1_500,
      concurrency: { key: "k", limit: 4 },
      retry: { failures: true, minBackoffMs: 10, maxBackoffMs: 20_000 },
      limits: { queueTimeoutMs: 60_000, silenceTimeoutMs: 5_000, runTimeoutMs: 1_000, pids: 7 },
    });
    expect(full).to.include({ priority: -3 });
    expect(full?.startDelay).to.include({ seconds: 1n, nanos: 500_000_000 });
    expect(full?.concurrency).to.include({ key: "k", limit: 4 });
    expect(full?.retry).to.include({ failures: true });
    expect(full?.retry?.minBackoff).to.include({ nanos: 10_000_000 });
    expect(full?.retry?.maxBackoff).to.include({ seconds: 20n });
    expect(full?.limits).to.include({ pids: 7 });
    expect(full?.limits?.queueTimeout).to.include({ seconds: 60n });
    expect(full?.limits?.silenceTimeout).to.include({ seconds: 5n });
    expect(full?.limits?.runTimeout).to.include({ seconds: 1n });
    const bare = await specOf({ command: ["echo"] });
    for (const name of ["limits", "retry", "concurrency", "startDelay"] as const) {
      expect(bare?.[name], name).to.equal(undefined);
    }
  });

  it("walks over the pages of a retry of many", async () => {
    const { jobs } = client();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      const { jobId } = await jobs.create({ command: ["exit", "1"], labels: { i: String(i % 2) } });
      await jobs.wait(jobId);
      ids.unshift(jobId);
    }
    const filter = { labels: { i: "0" }, reason: "EXIT_STATUS", pageSize: 2 };
    const retried = await collect(jobs.retryAll(filter));
    expect(retried.map(({ id }) => id)).to.deep.equal([ids[0], ids[2], ids[4]]);
    for (const { newId } of retried) await jobs.wait(newId);
    const calls = fake.log.filter(({ method }) => method === "RetryJobs").length;
    expect(calls).to.be.greaterThan(2);
    expect(await collect(jobs.retryAll({ statuses: ["cancelled"] }))).to.deep.equal([]);
  });

  it("pauses and resumes the queue", async () => {
    const { queue } = client();
    expect(await queue.get()).to.include({ paused: false });
    expect(await queue.pause({ detail: "why" })).to.include({ paused: true, pauseDetail: "why" });
    expect(await queue.get()).to.include({ paused: true });
    expect(await queue.resume()).to.include({ paused: false });
  });

  it("drains and resumes a runner", async () => {
    const { agents } = client();
    expect((await agents.drain("runner-1")).status).to.equal(AgentStatus.DRAINING);
    expect((await agents.list())[0]?.status).to.equal(AgentStatus.DRAINING);
    expect((await agents.resume("runner-1")).status).to.equal(AgentStatus.ALIVE);
    const error = await agents.drain("nobody").catch((thrown: unknown) => thrown);
    expect(error).to.include({ reason: "NOT_FOUND" });
  });

  it("explains a job, and tells which writes about it were refused", async () => {
    const { jobs } = client();
    const { jobId } = await jobs.create({ command: ["hang"] });
    fake.jobs.blocks.set(jobId, [{ kind: "paused", message: "it is" }]);
    fake.jobs.fencedWrites.set(jobId, [{ epoch: 1, action: "finish", count: 2 }]);
    const why = await jobs.explain(jobId);
    expect(why).to.include({ clear: false, status: JobStatus.RUNNING });
    expect(why.blocks[0]).to.include({ kind: "paused" });
    const { job, fencedWrites } = await jobs.inspect(jobId);
    expect(job.id).to.equal(jobId);
    expect(fencedWrites[0]).to.include({ epoch: 1, action: "finish", count: 2 });
    await jobs.cancel(jobId);
    expect((await jobs.wait(jobId)).cancel?.steps.map(({ name }) => name)).to.deep.equal([
      ...["delivered", "signalled", "stopped", "sandbox_removed"],
    ]);
  });
});
