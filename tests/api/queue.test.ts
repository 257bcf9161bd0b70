/** The queue as callers see it: pause, its bound, why a job waits, and many retries at once. */
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { AgentSchema, AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { QueueService } from "@devmesh/gen/devmesh/api/v1/queue_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

const { QUEUED, FAILED, CANCELLED, SUCCEEDED } = JobStatus;

describe("the queue", () => {
  let bed: Bed;
  let jobs: Client<typeof JobService>;
  let queue: Client<typeof QueueService>;
  let runners: Client<typeof RunnerService>;
  let agents: Client<typeof AgentService>;
  beforeEach(async () => {
    bed = await Bed.open({ config: { maxQueuedJobs: 4 } });
    jobs = bed.client(JobService);
    queue = bed.client(QueueService);
    runners = bed.client(RunnerService);
    agents = bed.client(AgentService);
  });
  afterEach(() => bed.close());

  const register = (id: string, isolation = Isolation.PROCESS, capacity = 4) => {
    const capabilities = [{ driver: "d", isolation, available: true, reason: "", remedy: "" }];
    const runner = create(AgentSchema, { id, host: "h", version: "0", capacity, capabilities });
    return runners.registerRunner({ runner });
  };

  async function lease(runnerId = "run_1", maxJobs = 10) {
    const { leases } = await runners.leaseJobs({
      ...{ runnerId, maxJobs, isolations: [Isolation.PROCESS] },
    });
    return leases.map(({ job, epoch, nextSeq }) => ({
      lease: { jobId: job?.id ?? "", epoch },
      seq: nextSeq,
    }));
  }

  const kindsOf = async (id: string) =>
    (await jobs.explainJob({ id })).blocks.map(({ kind }) => kind);

  it("says that an agent asks, until it is answered", async () => {
    await register("run_1");
    const { jobId: id } = await jobs.createJob({
      spec: { work: { case: "agent", value: { task: "x" } } },
    });
    const [held] = await lease();
    if (held === undefined) throw new Error("no lease");
    const note = (topic: string, seq: number) =>
      runners.appendEvents({
        lease: held.lease,
        events: [
          { seq, kind: { case: "note", value: { level: "info", topic, message: `${topic}?` } } },
        ],
      });
    await note("agent.turn", held.seq);
    expect(await kindsOf(id)).to.deep.equal([]);
    await note("agent.question", held.seq + 1);
    const [block] = (await jobs.explainJob({ id })).blocks;
    expect(block).to.deep.include({ kind: "question", message: "its agent asks: agent.question?" });
    expect(block?.remedy).to.include(`devmesh jobs answer ${id}`);
    await note("agent.answer", held.seq + 2);
    expect(await kindsOf(id)).to.deep.equal([]);
  });

  it("starts nothing while it is paused, and says why", async () => {
    await register("run_1");
    const { queue: paused } = await queue.pauseQueue({ detail: "upgrade" });
    expect(paused).to.deep.include({ paused: true, pauseDetail: "upgrade", maxQueued: 4n });
    expect(paused?.pauseTime).not.to.equal(undefined);
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    expect(await lease()).to.deep.equal([]);
    expect((await queue.getQueue({})).queue).to.deep.include({ queued: 1n, running: 0n });
    const { clear, blocks } = await jobs.explainJob({ id: jobId });
    expect(clear).to.equal(false);
    expect(blocks[0]).to.deep.include({ kind: "paused", message: "the queue is paused: upgrade" });
    const { queue: resumed } = await queue.resumeQueue({});
    expect(resumed).to.deep.include({ paused: false, pauseDetail: "" });
    expect(await jobs.explainJob({ id: jobId })).to.deep.include({ clear: true, status: QUEUED });
    expect(await lease()).to.have.length(1);
  });

  it("refuses more jobs than may wait, never a replay, and lets them in again", async () => {
    const keyed = { spec: trueSpec, idempotencyKey: "k1" };
    const first = await jobs.createJob(keyed);
    for (let i = 0; i < 3; i++) await jobs.createJob({ spec: trueSpec });
    const refusal = await jobs.createJob({ spec: trueSpec }).catch(toDevmeshError);
    expect(refusal).to.deep.include({ reason: "RATE_LIMITED" });
    expect(refusal).to.have.property("message").that.contains("max_queued_jobs");
    expect(refusal).to.have.property("retryAfterMs").that.is.greaterThan(0);
    const again = await jobs.createJob(keyed);
    expect(again).to.deep.include({ jobId: first.jobId, replayed: true });
    await jobs.cancelJob({ id: first.jobId });
    expect(await reasonOf(jobs.retryJob({ id: first.jobId }))).to.equal("RATE_LIMITED");
    bed.clock.advance(3_000);
    expect(await reasonOf(jobs.retryJob({ id: first.jobId }))).to.equal("ok");
    expect(await reasonOf(jobs.createJob({ spec: trueSpec }))).to.equal("RATE_LIMITED");
  });

  it("answers a replay before it checks what may have gone meanwhile", async () => {
    await register("run_1", Isolation.VM);
    const spec = { ...trueSpec, isolation: Isolation.VM };
    const { jobId } = await jobs.createJob({ spec, idempotencyKey: "k1" });
    await register("run_1", Isolation.PROCESS);
    expect(await reasonOf(jobs.createJob({ spec }))).to.equal("ISOLATION_UNAVAILABLE");
    const again = await jobs.createJob({ spec, idempotencyKey: "k1" });
    expect(again).to.deep.include({ jobId, replayed: true });
  });

  it("says what a job waits for", async () => {
    const { jobId: first } = await jobs.createJob({ spec: trueSpec });
    expect(await kindsOf(first)).to.deep.equal(["no_runner"]);
    const vm = await jobs.createJob({ spec: { ...trueSpec, isolation: Isolation.VM } });
    await register("run_1", Isolation.PROCESS, 1);
    expect(await kindsOf(vm.jobId)).to.deep.equal(["no_isolation", "behind"]);
    expect(await kindsOf(first)).to.deep.equal([]);
    const [held] = await lease("run_1", 1);
    if (held === undefined) throw new Error("no lease");
    await runners.heartbeat({ runnerId: "run_1", leases: [held.lease] });
    expect(await jobs.explainJob({ id: first })).to.deep.include({ clear: true, blocks: [] });
    const late = await jobs.createJob({ spec: { ...trueSpec, startDelay: durationFromMs(9_000) } });
    const { blocks } = await jobs.explainJob({ id: late.jobId });
    expect(blocks.map(({ kind }) => kind)).to.deep.equal(["delayed", "no_room"]);
    expect(blocks[0]?.until).not.to.equal(undefined);
    await agents.drainAgent({ id: "run_1" });
    expect(await kindsOf(vm.jobId)).to.deep.equal(["no_runner"]);
    expect(await reasonOf(jobs.explainJob({ id: "job_none" }))).to.equal("NOT_FOUND");
  });

  it("names the key, its limit and who has the slots", async () => {
    await register("run_1");
    const spec = { ...trueSpec, concurrency: { key: "deploy", limit: 1 } };
    const { jobId: first } = await jobs.createJob({ spec });
    const { jobId: second } = await jobs.createJob({ spec });
    const [block] = (await jobs.explainJob({ id: second })).blocks;
    expect(block?.kind).to.equal("concurrency");
    expect(block?.message).to.contain('"deploy"').and.to.contain(first).and.to.match(/^1 /);
  });

  it("retries what a filter picks, each once, page by page", async () => {
    await register("run_1");
    const labelled = { ...trueSpec, labels: { team: "a" } };
    const reasons = ["EXIT_STATUS", "TIMEOUT", "EXIT_STATUS"];
    const ids: string[] = [];
    for (const reason of reasons) {
      const { jobId } = await jobs.createJob({ spec: labelled });
      const [held] = await lease();
      if (held === undefined) throw new Error("no lease");
      await runners.finishJob({ ...held, result: { outcome: FAILED, reason } });
      ids.push(jobId);
    }
    const { jobId: cancelled } = await jobs.createJob({ spec: trueSpec });
    await jobs.cancelJob({ id: cancelled });
    // The waiting jobs are counted anew: none is left.
    bed.clock.advance(3_000);
    const filter = { reason: "EXIT_STATUS", labels: { team: "a" }, pageSize: 2 };
    const one = await jobs.retryJobs(filter);
    expect(one.jobs.map(({ id }) => id)).to.deep.equal([ids[2]]);
    const two = await jobs.retryJobs({ ...filter, pageToken: one.nextPageToken });
    expect(two.jobs.map(({ id }) => id)).to.deep.equal([ids[0]]);
    expect(two.nextPageToken).to.equal("");
    expect((await jobs.retryJobs({ ...filter, pageSize: 0 })).jobs).to.deep.equal([]);
    expect((await jobs.retryJobs({ labels: { team: "b" } })).jobs).to.deep.equal([]);
    const rest = await jobs.retryJobs({ statuses: [CANCELLED] });
    expect(rest.jobs.map(({ id }) => id)).to.deep.equal([cancelled]);
    const { job } = await jobs.getJob({ id: one.jobs[0]?.newId ?? "" });
    expect(job?.spec?.labels).to.deep.equal({ team: "a" });
    // With this one the queue is full.
    await jobs.createJob({ spec: trueSpec });
    expect(await reasonOf(jobs.retryJobs({ reason: "TIMEOUT" }))).to.equal("RATE_LIMITED");
  });

  it("retries for the owner of the job, whoever asks, and for all of them once", async () => {
    const secretOf = async (owner: string, ...scopes: string[]) => {
      const grant = { name: owner, owner, scopes: ["read:jobs", "write:jobs", ...scopes] };
      return (await bed.client(TokenService).createToken(grant)).secret;
    };
    const anns = bed.client(JobService, await secretOf("ann"));
    const bobs = bed.client(JobService, await secretOf("bob", "admin:owners"));
    const { jobId } = await anns.createJob({ spec: trueSpec });
    await anns.cancelJob({ id: jobId });
    const filter = { statuses: [CANCELLED] };
    const made = (await bobs.retryJobs(filter)).jobs;
    expect(made.map(({ id }) => id)).to.deep.equal([jobId]);
    expect((await anns.getJob({ id: made[0]?.newId ?? "" })).job?.owner).to.equal("ann");
    expect((await jobs.retryJobs(filter)).jobs).to.deep.equal([]);
    expect((await anns.retryJobs(filter)).jobs).to.deep.equal([]);
    const one = await bobs.retryJob({ id: jobId, idempotencyKey: "again" });
    expect(one.job?.owner).to.equal("ann");
    const two = await jobs.retryJob({ id: jobId, idempotencyKey: "again" });
    expect(two).to.deep.include({ jobId: one.jobId, replayed: true });
  });

  it("passes over what cannot be done again now, and goes on behind it", async () => {
    const older = await jobs.createJob({ spec: trueSpec });
    const vm = await jobs.createJob({ spec: { ...trueSpec, isolation: Isolation.VM } });
    const newer = await jobs.createJob({ spec: trueSpec });
    for (const { jobId: id } of [older, vm, newer]) await jobs.cancelJob({ id });
    await register("run_1", Isolation.PROCESS);
    bed.clock.advance(3_000);
    const retried = (await jobs.retryJobs({ statuses: [CANCELLED] })).jobs.map(({ id }) => id);
    expect(retried).to.deep.equal([newer.jobId, older.jobId]);
    await register("run_1", Isolation.VM);
    const later = (await jobs.retryJobs({ statuses: [CANCELLED] })).jobs.map(({ id }) => id);
    expect(later).to.deep.equal([vm.jobId]);
  });

  it("gives a drained runner nothing, tells it, and lets what it runs go on", async () => {
    await register("run_1");
    await jobs.createJob({ spec: trueSpec });
    const [held] = await lease();
    if (held === undefined) throw new Error("no lease");
    const { agent } = await agents.drainAgent({ id: "run_1" });
    expect(agent?.status).to.equal(AgentStatus.DRAINING);
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    expect(await lease()).to.deep.equal([]);
    const beat = await runners.heartbeat({ runnerId: "run_1", leases: [held.lease] });
    expect(beat).to.deep.include({ draining: true });
    expect(beat.leases[0]?.fenced).to.equal(false);
    const { job } = await runners.finishJob({ ...held, result: { outcome: SUCCEEDED } });
    expect(job?.status).to.equal(SUCCEEDED);
    expect((await agents.resumeAgent({ id: "run_1" })).agent?.status).to.equal(AgentStatus.ALIVE);
    expect((await lease()).map((next) => next.lease.jobId)).to.deep.equal([jobId]);
    expect((await runners.heartbeat({ runnerId: "run_1", leases: [] })).draining).to.equal(false);
    expect(await reasonOf(agents.drainAgent({ id: "run_9" }))).to.equal("NOT_FOUND");
  });

  it("shows the writes that were refused, with their job", async () => {
    await register("run_1");
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    const [held] = await lease();
    if (held === undefined) throw new Error("no lease");
    await runners.releaseJob({ lease: held.lease });
    const late = runners.finishJob({ ...held, result: { outcome: SUCCEEDED } });
    expect(await reasonOf(late)).to.equal("FENCED");
    const { fencedWrites } = await jobs.getJob({ id: jobId });
    expect(fencedWrites).to.have.length(1);
    expect(fencedWrites[0]).to.deep.include({ action: "finish", runner: "run_1", count: 1 });
  });
});
