/** Leases: to whom they go, when they come back, and what their tokens are worth. */
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { AgentSchema, AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { CountedIds, TestClock, TestRandom } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { MemoryAgentStore } from "../../services/api/agents/agent-store.memory.ts";
import { Agents } from "../../services/api/agents/agents.ts";
import { MemoryAuditStore } from "../../services/api/audit/audit-store.memory.ts";
import { JobSignals } from "../../services/api/jobs/job-signals.ts";
import { MemoryJobStore } from "../../services/api/jobs/job-store.memory.ts";
import { accept } from "../../services/api/jobs/job-store.suite.bed.ts";
import { Runners } from "../../services/api/runners/runners.ts";
import { MemoryTokenStore } from "../../services/api/tokens/token-store.memory.ts";
import { Tokens } from "../../services/api/tokens/tokens.ts";
import { settled } from "../settled.ts";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

const { QUEUED, RUNNING, CANCELLED } = JobStatus;
const wait = { seconds: 20n };

describe("runners", () => {
  let bed: Bed;
  let jobs: Client<typeof JobService>;
  let runners: Client<typeof RunnerService>;
  beforeEach(async () => {
    bed = await Bed.open();
    jobs = bed.client(JobService);
    runners = bed.client(RunnerService);
    for (const id of ["run_1", "run_2"]) await register(id);
  });
  afterEach(() => bed.close());

  const register = (id: string) => {
    const capabilities = [{ driver: "d", isolation: Isolation.PROCESS, available: true }];
    const runner = create(AgentSchema, { id, host: "h", version: "0", capacity: 4, capabilities });
    return runners.registerRunner({ runner });
  };
  const ask = (runnerId: string) => ({ runnerId, maxJobs: 10, isolations: [Isolation.PROCESS] });
  const beat = (runnerId: string, ...leases: { jobId: string; epoch: number }[]) =>
    runners.heartbeat({ runnerId, leases });

  async function leaseOne(runnerId = "run_1") {
    const { leases } = await runners.leaseJobs(ask(runnerId));
    const [lease] = leases;
    if (lease?.job === undefined) throw new Error("no lease");
    return {
      jobId: lease.job.id,
      epoch: lease.epoch,
      token: lease.jobToken,
      nextSeq: lease.nextSeq,
    };
  }

  const statusOf = async (id: string) => (await jobs.getJob({ id })).job?.status;
  const worth = (token: string) => reasonOf(bed.client(TokenService, token).whoAmI({}));

  /** Lets time go by, with heartbeats of these runners. */
  async function pass(ms: number, ...alive: string[]): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1_000) {
      for (const id of alive) await beat(id);
      bed.clock.advance(1_000);
      await settled();
    }
  }

  it("get work that comes while they wait", async () => {
    const leased = runners.leaseJobs({ ...ask("run_1"), wait });
    await settled();
    await jobs.createJob({ spec: trueSpec });
    expect((await leased).leases).to.have.length(1);
  });

  it("are unknown until they present themselves", async () => {
    expect(await reasonOf(runners.leaseJobs(ask("run_9")))).to.equal("NOT_FOUND");
    expect(await reasonOf(beat("run_9"))).to.equal("NOT_FOUND");
  });

  it("that went away while they waited do not keep the job", async () => {
    const caller = new AbortController();
    const leased = reasonOf(
      runners.leaseJobs({ ...ask("run_1"), wait }, { signal: caller.signal }),
    );
    await settled();
    const created = jobs.createJob({ spec: trueSpec });
    caller.abort();
    const { jobId } = await created;
    expect(await leased).to.equal("CANCELLED");
    await settled();
    const { job } = await jobs.getJob({ id: jobId });
    expect([job?.status, job?.attempt]).to.deep.equal([QUEUED, 0]);
  });

  it("that fell silent get no work, although their ask still waits", async () => {
    const leased = runners.leaseJobs({ ...ask("run_1"), wait });
    await settled();
    await pass(7_000);
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    await settled();
    expect(await statusOf(jobId)).to.equal(QUEUED);
    await beat("run_1");
    bed.clock.advance(1_000);
    expect((await leased).leases).to.have.length(1);
  });

  it("wait no longer than a call may take", async () => {
    await bed.close();
    bed = await Bed.open({ config: { requestTimeoutMs: 4_000 } });
    runners = bed.client(RunnerService);
    await register("run_1");
    const leased = runners.leaseJobs({ ...ask("run_1"), wait });
    await settled();
    await pass(2_000);
    expect((await leased).leases).to.deep.equal([]);
  });

  it("show how many jobs they run, also while they ask for more", async () => {
    await jobs.createJob({ spec: trueSpec });
    await beat("run_1", await leaseOne());
    await runners.leaseJobs(ask("run_1"));
    const { agents } = await bed.client(AgentService).listAgents({});
    expect(agents.find(({ id }) => id === "run_1")?.running).to.equal(1);
    bed.clock.advance(13_000);
    const later = await bed.client(AgentService).listAgents({});
    expect(later.agents.map(({ status }) => status)).to.deep.equal([
      AgentStatus.LOST,
      AgentStatus.LOST,
    ]);
  });

  describe("that are lost", () => {
    it("lose the job to another one, and its token with it", async () => {
      const { jobId } = await jobs.createJob({ spec: trueSpec });
      const first = await leaseOne("run_1");
      expect(await worth(first.token)).to.equal("ok");
      const next = runners.leaseJobs({ ...ask("run_2"), wait });
      await pass(16_000, "run_2");
      const [second] = (await next).leases;
      expect(second?.job?.attempt).to.equal(2);
      expect(await worth(first.token)).to.equal("UNAUTHENTICATED");
      expect(await worth(second?.jobToken ?? "")).to.equal("ok");
      await pass(4_000, "run_2");
      expect(await worth(second?.jobToken ?? "")).to.equal("ok");
      const { leases } = await beat("run_1", { jobId, epoch: first.epoch });
      expect(leases[0]?.fenced).to.equal(true);
    });

    it("are given the time of a lease to come back after the backend was away", async () => {
      // The store stays while the backend restarts: its first look comes late enough.
      const { jobId } = await jobs.createJob({ spec: trueSpec });
      const lease = await leaseOne();
      bed.clock.advance(11_999);
      await settled();
      await beat("run_1", lease);
      bed.clock.advance(11_999);
      await settled();
      expect(await statusOf(jobId)).to.equal(RUNNING);
    });
  });

  describe("and the token of a job", () => {
    it("die with its end", async () => {
      const { jobId } = await jobs.createJob({ spec: trueSpec });
      const { token, epoch, nextSeq } = await leaseOne();
      const result = { outcome: JobStatus.SUCCEEDED };
      await runners.finishJob({ lease: { jobId, epoch }, seq: nextSeq, result });
      expect(await worth(token)).to.equal("UNAUTHENTICATED");
    });

    it("die when the job is given back, and never hit the next one's", async () => {
      const { jobId } = await jobs.createJob({ spec: trueSpec });
      const first = await leaseOne("run_1");
      // The other one waits, and takes the job the moment it is free.
      const next = runners.leaseJobs({ ...ask("run_2"), wait });
      await settled();
      await runners.releaseJob({ lease: { jobId, epoch: first.epoch } });
      const [second] = (await next).leases;
      await settled();
      expect(await worth(first.token)).to.equal("UNAUTHENTICATED");
      expect(await worth(second?.jobToken ?? "")).to.equal("ok");
    });

    it("die when it is cancelled on its way back", async () => {
      const { jobId } = await jobs.createJob({ spec: trueSpec });
      const { token, epoch } = await leaseOne();
      await jobs.cancelJob({ id: jobId });
      await runners.releaseJob({ lease: { jobId, epoch } });
      expect(await statusOf(jobId)).to.equal(CANCELLED);
      expect(await worth(token)).to.equal("UNAUTHENTICATED");
    });

    it("may do what an agent needs, and nothing to jobs and tokens", async () => {
      const { jobId } = await jobs.createJob({ spec: trueSpec });
      const { token } = await leaseOne();
      expect(await reasonOf(bed.client(JobService, token).cancelJob({ id: jobId }))).to.equal(
        "SCOPE_MISSING",
      );
      expect(await reasonOf(bed.client(TokenService, token).listTokens({}))).to.equal(
        "SCOPE_MISSING",
      );
    });
  });
});

describe("a lease that cannot be handed over", () => {
  /** Leases with a token store that does this first. */
  async function leaseWith(hook: (caller: AbortController) => void) {
    const clock = new TestClock();
    const store = new MemoryJobStore({ clock, random: new TestRandom() });
    const agents = new Agents({
      store: new MemoryAgentStore({ clock }),
      clock,
      leaseTtlMs: 12_000,
    });
    const caller = new AbortController();
    const tokenStore = new MemoryTokenStore();
    const insert = tokenStore.insert.bind(tokenStore);
    tokenStore.insert = async (token) => {
      hook(caller);
      await insert(token);
    };
    const ids = new CountedIds();
    const isRunning = async () => true;
    const tokens = new Tokens({ store: tokenStore, clock, ids, scopes: [], isRunning });
    const signals = new JobSignals(store, clock);
    const logger = silentLogger();
    const limits = { leaseTtlMs: 12_000, maxWaitMs: 60_000 };
    const runners = new Runners({
      audit: new MemoryAuditStore(),
      store,
      signals,
      agents,
      tokens,
      clock,
      logger,
      ...limits,
    });
    await agents.register(create(AgentSchema, { id: "run_1", host: "h", version: "0" }), "tok_1");
    const { id } = await accept(store);
    const holder = "tok_1";
    const input = { runnerId: "run_1", holder, max: 1, strongest: Isolation.VM, waitMs: 0 };
    const reason = await reasonOf(runners.lease(input, caller.signal));
    const job = await store.get(id);
    signals.close();
    return { reason, status: job?.status, attempt: job?.attempt };
  }

  it("goes back when its caller went away meanwhile", async () => {
    const gone = new DevmeshError("CANCELLED", "the caller went away");
    const found = await leaseWith((caller) => caller.abort(gone));
    expect(found).to.deep.equal({ reason: "CANCELLED", status: QUEUED, attempt: 0 });
  });

  it("goes back when its token cannot be made", async () => {
    const found = await leaseWith(() => {
      throw new DevmeshError("UNAVAILABLE", "the store is away");
    });
    expect(found).to.deep.equal({ reason: "UNAVAILABLE", status: QUEUED, attempt: 0 });
  });
});
