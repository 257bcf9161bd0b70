/** The token that a job's own work gets: how little it may do, and for how long. */
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { accessOf } from "@devmesh/mesh/interceptors";
import { expect } from "chai";
import { createDevmesh, type NodeDevmesh } from "../../sdk/ts/src/node.ts";
import { refusal } from "../e2e/main-flow.jobs.ts";
import { startUp, type Up } from "../e2e/up.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

describe("a job's own token", function () {
  this.timeout(60_000);
  let folder: TempFolder | undefined;
  let up: Up;
  let job: NodeDevmesh;
  let finish: () => Promise<unknown>;

  before(async () => {
    folder = tempFolder();
    // The platform's own runner gives nothing, so the test itself is the runner.
    up = await startUp({
      dataDir: folder.path,
      env: { SANDBOX_DRIVERS: "qemu", QEMU_BINARY: "/none" },
    });
    const transport = createConnectTransport({
      baseUrl: up.url,
      httpVersion: "1.1",
      interceptors: [
        (next) => (req) => {
          req.header.set("authorization", `Bearer ${up.token}`);
          return next(req);
        },
      ],
    });
    const runner = createClient(RunnerService, transport);
    const id = "run_test";
    const row = { driver: "test", isolation: Isolation.PROCESS, available: true };
    await runner.registerRunner({
      runner: { id, host: "test", version: "0", capacity: 1, capabilities: [row] },
    });
    await up.devmesh.jobs.create({ command: ["true"] });
    const isolations = [Isolation.PROCESS];
    const { leases } = await runner.leaseJobs({ runnerId: id, maxJobs: 1, isolations });
    const [lease] = leases;
    if (lease?.job === undefined) throw new Error("nothing was leased");
    const { epoch, jobToken, nextSeq } = lease;
    const ref = { jobId: lease.job.id, epoch };
    job = createDevmesh({ baseUrl: up.url, token: jobToken, retry: { maxRetries: 0 } });
    finish = () =>
      runner.finishJob({ lease: ref, seq: nextSeq, result: { outcome: JobStatus.SUCCEEDED } });
  });
  after(async () => {
    job?.close();
    await up?.stop();
    folder?.[Symbol.dispose]();
  });

  it("asks models and reads context", async () => {
    expect([...(await job.tokens.whoami()).scopes].sort()).to.deep.equal(
      ["context:read", "llm:invoke", "read:self"].sort(),
    );
    expect((await job.context.search("anything")).items).to.deep.equal([]);
    expect((await job.llm.models()).models).to.be.an("array");
  });

  it("does nothing else: no jobs, no tokens, no documents, no audit, no leases", async () => {
    const calls = {
      create: () => job.jobs.create({ command: ["true"] }),
      list: () => job.jobs.list().page(),
      put: () => job.blobs.put(Buffer.from("x")),
      ingest: () => job.context.ingest([{ source: "a.md", text: "a" }]),
      mint: () => job.tokens.create({ name: "x", scopes: ["read:self"] }),
      link: () => job.tokens.createLink(),
      audit: () => job.audit.list().page(),
      agents: () => job.agents.list(),
      system: () => job.system.get(),
    };
    for (const [name, call] of Object.entries(calls)) {
      expect((await refusal(call())).reason, name).to.equal("SCOPE_MISSING");
    }
    for (const method of RunnerService.methods) {
      expect(accessOf(method)?.scope).to.equal("run:jobs");
    }
  });

  it("is shown in no list, and ends with the lease", async () => {
    const listed = await up.devmesh.tokens.list();
    expect(listed.filter(({ name }) => name.startsWith("job "))).to.deep.equal([]);
    await finish();
    expect((await refusal(job.tokens.whoami())).reason).to.equal("UNAUTHENTICATED");
    expect((await refusal(job.context.search("x"))).reason).to.equal("UNAUTHENTICATED");
  });
});
