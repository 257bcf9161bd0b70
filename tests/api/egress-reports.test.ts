/** What runners report of their sandboxes' requests: into the audit once, under the lease's fence. */
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { expect } from "chai";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

const allowed = { allowed: true, host: "a.example", port: 443, method: "GET", count: 2 };
const refused = { host: "10.0.0.1", port: 80, method: "CONNECT", reason: "BAD_HOST", count: 1 };

describe("egress reports", () => {
  let bed: Bed;
  let runners: Client<typeof RunnerService>;
  let lease: { jobId: string; epoch: number };
  beforeEach(async () => {
    bed = await Bed.open();
    runners = bed.client(RunnerService);
    const capabilities = [{ driver: "d", isolation: Isolation.PROCESS, available: true }];
    const facts = { id: "run_1", host: "h", version: "0", capacity: 4, capabilities };
    await runners.registerRunner({ runner: create(AgentSchema, facts) });
    const { jobId } = await bed.client(JobService).createJob({ spec: trueSpec });
    const isolations = [Isolation.PROCESS];
    const { leases } = await runners.leaseJobs({ runnerId: "run_1", maxJobs: 1, isolations });
    lease = { jobId, epoch: leases[0]?.epoch ?? 0 };
  });
  afterEach(() => bed.close());

  async function rows() {
    const { events } = await bed.client(AuditService).listAuditEvents({});
    return events.filter(({ action }) => /^egress\.(allow|refuse)$/.test(action)).reverse();
  }

  it("stand in the audit with the job, its owner, and what was reached", async () => {
    await runners.reportEgress({ lease, number: 1, decisions: [allowed, refused] });
    const [yes, no] = await rows();
    expect(yes).to.deep.include({ action: "egress.allow", resource: lease.jobId, outcome: "ok" });
    expect(no).to.deep.include({ action: "egress.refuse", outcome: "BAD_HOST" });
    expect(yes?.actor).to.be.a("string").that.is.not.empty;
    expect(JSON.parse(yes?.detail ?? "")).to.deep.equal({
      ...{ host: "a.example", port: 443, method: "GET", path: "", address: "", count: 2 },
    });
    expect((await bed.client(AuditService).verifyAudit({})).intact).to.equal(true);
  });

  it("count once, however often they come", async () => {
    const report = { lease, number: 1, decisions: [allowed] };
    await runners.reportEgress(report);
    await runners.reportEgress(report);
    await runners.reportEgress({ ...report, number: 2 });
    expect(await rows()).to.have.length(2);
  });

  it("show no secret of a path", async () => {
    const decisions = [{ ...allowed, path: "/bot/ghp_abcdefghijklmnopqrst/x" }];
    await runners.reportEgress({ lease, number: 1, decisions });
    expect((await rows())[0]?.detail)
      .to.contain("[redacted]")
      .and.not.contain("ghp_");
  });

  it("are refused of a lease that has ended, and leave no row", async () => {
    const old = { ...lease, epoch: lease.epoch + 1 };
    const report = { number: 1, decisions: [allowed] };
    expect(await reasonOf(runners.reportEgress({ lease: old, ...report }))).to.equal("FENCED");
    await runners.releaseJob({ lease, detail: "" });
    expect(await reasonOf(runners.reportEgress({ lease, ...report }))).to.equal("FENCED");
    expect(await rows()).to.deep.equal([]);
  });

  it("are refused where they say nothing", async () => {
    for (const report of [
      { lease, number: 0, decisions: [allowed] },
      { lease, number: 1, decisions: [] },
      { number: 1, decisions: [allowed] },
      { lease, number: 1, decisions: [{ ...allowed, count: 0 }] },
      { lease, number: 1, decisions: [{ ...allowed, host: "a".repeat(254) }] },
    ]) {
      expect(await reasonOf(runners.reportEgress(report))).to.equal("INVALID_FIELD");
    }
  });
});
