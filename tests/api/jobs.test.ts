/** The rules of jobs: keys, defaults, refusals, retries, pages. */
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { AgentSchema, type Capability } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { AgentHarness, BudgetEnd } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { type JobSpec, JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import { fingerprint } from "../../services/api/jobs/jobs.ts";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

describe("jobs", () => {
  let bed: Bed;
  let jobs: Client<typeof JobService>;
  let runners: Client<typeof RunnerService>;
  beforeEach(async () => {
    bed = await Bed.open();
    jobs = bed.client(JobService);
    runners = bed.client(RunnerService);
  });
  afterEach(() => bed.close());

  /** A runner that offers what it is told. */
  async function register(id: string, capabilities: Partial<Capability>[]): Promise<void> {
    const rows = capabilities.map((row) => ({ driver: "d", reason: "r", remedy: "do it", ...row }));
    await runners.registerRunner({
      runner: create(AgentSchema, {
        id,
        host: "h",
        version: "0",
        capacity: 1,
        capabilities: rows as Capability[],
      }),
    });
  }

  async function lease() {
    await register("run_1", [{ isolation: Isolation.VM, available: true }]);
    const isolations = [Isolation.VM];
    const { leases } = await runners.leaseJobs({ runnerId: "run_1", maxJobs: 10, isolations });
    return leases;
  }

  /** Accepts a job and ends it. */
  async function ended(): Promise<string> {
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    await jobs.cancelJob({ id: jobId });
    return jobId;
  }

  it("are given the defaults, where they can be seen", async () => {
    const { job } = await jobs.createJob({ spec: trueSpec });
    expect(job?.spec).to.deep.include({ isolation: Isolation.PROCESS, maxAttempts: 2 });
  });

  it("need their workspace in the blob store", async () => {
    const spec = { ...trueSpec, workspaceSha256: "0".repeat(64) };
    expect(await reasonOf(jobs.createJob({ spec }))).to.equal("NOT_FOUND");
  });

  describe("with an idempotency key", () => {
    const key = { idempotencyKey: "k" };

    it("are made once", async () => {
      const first = await jobs.createJob({ spec: trueSpec, ...key });
      const second = await jobs.createJob({ spec: trueSpec, ...key });
      expect([first.replayed, second.replayed]).to.deep.equal([false, true]);
      expect(second.jobId).to.equal(first.jobId);
    });

    it("take an explicit default for an absent one", async () => {
      await jobs.createJob({ spec: trueSpec, ...key });
      const said = { ...trueSpec, isolation: Isolation.PROCESS, maxAttempts: 2, limits: {} };
      expect((await jobs.createJob({ spec: said, ...key })).replayed).to.equal(true);
    });

    it("refuse the key for another request, a retry with the same spec included", async () => {
      const id = await ended();
      await jobs.createJob({ spec: trueSpec, ...key });
      const other = { work: { case: "command" as const, value: { argv: ["false"] } } };
      expect(await reasonOf(jobs.createJob({ spec: other, ...key }))).to.equal("KEY_REUSED");
      expect(await reasonOf(jobs.retryJob({ id, ...key }))).to.equal("KEY_REUSED");
    });

    it("are retried once, each for itself", async () => {
      const [one, two] = [await ended(), await ended()];
      const first = await jobs.retryJob({ id: one, ...key });
      expect((await jobs.retryJob({ id: one, ...key })).jobId).to.equal(first.jobId);
      expect(await reasonOf(jobs.retryJob({ id: two, ...key }))).to.equal("KEY_REUSED");
    });

    it("read it from the header, or from the field where there is none", async () => {
      const headers = { "idempotency-key": "from the header" };
      const first = await jobs.createJob({ spec: trueSpec, ...key }, { headers });
      const second = await jobs.createJob({ spec: trueSpec, ...key });
      expect(second.jobId).to.not.equal(first.jobId);
      const empty = { headers: { "idempotency-key": "" } };
      expect(await reasonOf(jobs.createJob({ spec: trueSpec, ...key }, empty))).to.equal(
        "INVALID_FIELD",
      );
    });

    it("refuse one that is too long", async () => {
      const headers = { "idempotency-key": "x".repeat(256) };
      const call = jobs.createJob({ spec: trueSpec }, { headers });
      expect(await reasonOf(call)).to.equal("INVALID_FIELD");
    });
  });

  describe("and isolation", () => {
    const spec = { ...trueSpec, isolation: Isolation.CONTAINER };

    it("wait where there is no runner at all", async () => {
      expect(await reasonOf(jobs.createJob({ spec }))).to.equal("ok");
    });

    it("are refused where no runner that is alive can give it", async () => {
      await register("run_1", [{ isolation: Isolation.PROCESS, available: true }]);
      expect(await reasonOf(jobs.createJob({ spec }))).to.equal("ISOLATION_UNAVAILABLE");
    });

    it("are accepted by a stronger one, or by one that is still being tried", async () => {
      for (const row of [
        { isolation: Isolation.VM, available: true },
        { isolation: Isolation.CONTAINER, pending: true },
      ]) {
        await register("run_1", [row]);
        expect(await reasonOf(jobs.createJob({ spec }))).to.equal("ok");
      }
    });

    it("do not count runners that are lost", async () => {
      await register("run_1", [{ isolation: Isolation.PROCESS, available: true }]);
      bed.clock.advance(13_000);
      expect(await reasonOf(jobs.createJob({ spec }))).to.equal("ok");
      await register("run_2", [{ isolation: Isolation.PROCESS, available: true }]);
      expect(await reasonOf(jobs.createJob({ spec }))).to.equal("ISOLATION_UNAVAILABLE");
    });
  });

  it("are not retried before they have ended", async () => {
    const { jobId: id } = await jobs.createJob({ spec: trueSpec });
    expect(await reasonOf(jobs.retryJob({ id }))).to.equal("WRONG_STATE");
  });

  it("are lost for good after their last attempt", async () => {
    const { jobId: id } = await jobs.createJob({ spec: { ...trueSpec, maxAttempts: 1 } });
    await lease();
    for (let i = 0; i < 10; i++) {
      bed.clock.advance(3_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { job } = await jobs.getJob({ id });
    expect(job?.status).to.equal(JobStatus.FAILED);
    expect(job?.result?.reason).to.equal("RUNNER_LOST");
  });

  it("are listed page by page, each once", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 7; i++) ids.push((await jobs.createJob({ spec: trueSpec })).jobId);
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await jobs.listJobs({ pageSize: 3, pageToken });
      seen.push(...page.jobs.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).to.deep.equal(ids.reverse());
    expect(await reasonOf(jobs.listJobs({ pageToken: "rubbish" }))).to.equal("INVALID_PAGE_TOKEN");
  });

  it("are listed with the page tokens of the same query only, none altered", async () => {
    for (let i = 0; i < 3; i++) await jobs.createJob({ spec: trueSpec });
    const { nextPageToken: token } = await jobs.listJobs({ pageSize: 2 });
    const reason = (pageToken: string, statuses: JobStatus[] = []) =>
      reasonOf(jobs.listJobs({ pageSize: 2, pageToken, statuses }));
    expect(await reason(token)).to.equal("ok");
    expect(await reason(token, [JobStatus.FAILED])).to.equal("INVALID_PAGE_TOKEN");
    const plain = Buffer.from(token, "base64url").toString();
    const altered = [
      plain.replace("job_", "joc_"),
      JSON.stringify([1, "job_1"]),
      JSON.stringify([2, "job_1", ""]),
      `${plain} `,
    ].map((text) => Buffer.from(text).toString("base64url"));
    for (const other of [...altered, `${token}A`, token.slice(1)]) {
      expect(await reason(other), other).to.equal("INVALID_PAGE_TOKEN");
    }
    const { nextPageToken: audits } = await bed
      .client(AuditService)
      .listAuditEvents({ pageSize: 1 });
    expect(await reason(audits)).to.equal("INVALID_PAGE_TOKEN");
  });

  it("are refused with what no sandbox can be given", async () => {
    const command = (argv: string[], env = {}) => ({
      work: { case: "command" as const, value: { argv, env } },
    });
    const agent = (value: object) => ({
      work: { case: "agent" as const, value: { task: "x", ...value } },
    });
    const { CODEX, COMMAND } = AgentHarness;
    for (const [spec, field] of [
      [command(["echo", "a\0b"]), "spec.command.argv[1]"],
      [command(["true"], { A: "a\0b" }), 'spec.command.env["A"]'],
      [agent({ tools: ["rm_rf"] }), "spec.agent.tools[0]"],
      [agent({ harness: COMMAND }), "spec.agent.harnessArgv"],
      [agent({ harness: COMMAND, harnessArgv: ["a\0"] }), "spec.agent.harnessArgv"],
      [agent({ harness: CODEX, tools: ["run"] }), "spec.agent.tools"],
      [agent({ harness: CODEX, maxCostMicros: 1n }), "spec.agent.maxCostMicros"],
      [agent({ harness: CODEX, onBudgetEnd: BudgetEnd.ASK }), "spec.agent.onBudgetEnd"],
      [agent({ task: "a\0b" }), "spec.agent.task"],
      [agent({ testArgv: ["a\0b"] }), "spec.agent.testArgv"],
      [{ ...trueSpec, limits: { memoryMib: 15 } }, "spec.limits.memoryMib"],
      [{ ...trueSpec, limits: { cpuMillis: 9 } }, "spec.limits.cpuMillis"],
      [{ ...trueSpec, limits: { cpuMillis: 1_000_001 } }, "spec.limits.cpuMillis"],
      [{ ...trueSpec, limits: { pids: 3 } }, "spec.limits.pids"],
      [{ ...trueSpec, limits: { diskMib: 3 } }, "spec.limits.diskMib"],
    ] as const) {
      const error = await jobs.createJob({ spec }).catch(toDevmeshError);
      expect(error, field).to.deep.include({ reason: "INVALID_FIELD" });
      expect(error).to.have.nested.property("metadata.field", field);
    }
  });

  describe("and pages of events", () => {
    it("say where to go on, and 0 behind the end", async () => {
      const id = await ended();
      const first = await jobs.listJobEvents({ id, pageSize: 1 });
      expect(first.nextFrom).to.equal(2);
      expect((await jobs.listJobEvents({ id, from: 2 })).nextFrom).to.equal(0);
      // A reader that asks behind the end of an ended job is not sent round for ever.
      expect((await jobs.listJobEvents({ id, from: 9 })).nextFrom).to.equal(0);
    });

    it("say where to go on while the job goes on", async () => {
      const { jobId: id } = await jobs.createJob({ spec: trueSpec });
      expect((await jobs.listJobEvents({ id })).nextFrom).to.equal(2);
      expect((await jobs.listJobEvents({ id, from: 9 })).nextFrom).to.equal(9);
    });
  });
});

describe("fingerprint of a spec", () => {
  const labels = fc.dictionary(fc.stringMatching(/^[a-z0-9]{1,8}$/), fc.string());
  const specOf = (entries: Record<string, string>): JobSpec =>
    create(JobSpecSchema, { ...trueSpec, labels: entries });

  it("does not depend on the order of maps", () => {
    fc.assert(
      fc.property(labels, (entries) => {
        const turned = Object.fromEntries(Object.entries(entries).reverse());
        expect(fingerprint(specOf(turned))).to.equal(fingerprint(specOf(entries)));
      }),
    );
  });

  it("depends on everything else", () => {
    fc.assert(
      fc.property(labels, labels, (a, b) => {
        const isSame = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
        expect(fingerprint(specOf(a)) === fingerprint(specOf(b))).to.equal(isSame);
      }),
    );
  });

  const sorted = (entries: object) => Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1));
});
