/** The audit: who did what, refused calls too; nothing is lost at the end. */
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import type { AuditEntry } from "@devmesh/mesh/interceptors";
import { silentLogger } from "@devmesh/mesh/log";
import { expect } from "chai";
import { AuditLog } from "../../services/api/audit/audit-log.ts";
import { MemoryAuditStore } from "../../services/api/audit/audit-store.memory.ts";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

describe("audit", () => {
  let bed: Bed;
  beforeEach(async () => {
    bed = await Bed.open();
  });
  afterEach(() => bed.close());

  async function rows(): Promise<string[][]> {
    const { events } = await bed.client(AuditService).listAuditEvents({});
    return events.map(({ actor, action, resource, outcome }) => [actor, action, resource, outcome]);
  }

  it("names the caller and the resource of what was done", async () => {
    const jobs = bed.client(JobService);
    const { jobId } = await jobs.createJob({ spec: trueSpec });
    await jobs.cancelJob({ id: jobId });
    const actions = (await rows()).map(([actor, ...rest]) => [actor?.startsWith("tok_"), ...rest]);
    expect(actions).to.deep.equal([
      [true, "job.cancel", jobId, "ok"],
      [true, "job.create", jobId, "ok"],
    ]);
  });

  it("names the caller of a call that was refused", async () => {
    const tokens = bed.client(TokenService);
    const { token, secret } = await tokens.createToken({ name: "r", scopes: ["read:jobs"] });
    await reasonOf(bed.client(JobService, secret).createJob({ spec: trueSpec }));
    await reasonOf(bed.client(JobService, "").createJob({ spec: trueSpec }));
    await reasonOf(bed.client(JobService, "dm_wrong").createJob({ spec: trueSpec }));
    expect((await rows()).slice(0, 3)).to.deep.equal([
      ["anonymous", "job.create", "", "UNAUTHENTICATED"],
      ["anonymous", "job.create", "", "UNAUTHENTICATED"],
      [token?.id, "job.create", "", "SCOPE_MISSING"],
    ]);
  });

  it("names what a refused call was about", async () => {
    const jobs = bed.client(JobService);
    await reasonOf(jobs.cancelJob({ id: "job_0" }));
    await reasonOf(jobs.retryJob({ id: "job_0" }));
    const refused = (await rows()).map(([, ...rest]) => rest);
    expect(refused).to.deep.equal([
      ["job.retry", "job_0", "NOT_FOUND"],
      ["job.cancel", "job_0", "NOT_FOUND"],
    ]);
  });

  it("is read page by page, each row once", async () => {
    const jobs = bed.client(JobService);
    for (let i = 0; i < 5; i++) await reasonOf(jobs.cancelJob({ id: `job_${i}` }));
    const audit = bed.client(AuditService);
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await audit.listAuditEvents({ pageSize: 2, pageToken });
      seen.push(...page.events.map(({ resource }) => resource));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).to.deep.equal(["job_4", "job_3", "job_2", "job_1", "job_0"]);
    expect(await reasonOf(audit.listAuditEvents({ pageToken: "x" }))).to.equal(
      "INVALID_PAGE_TOKEN",
    );
  });
});

describe("audit log", () => {
  const entry = (action: string, resource = ""): AuditEntry => ({
    ...{ timeMs: 0, actor: "tok_1", action, resource, outcome: "ok", correlationId: "" },
  });

  /** A store that can be held up, and that can fail. */
  class SlowStore extends MemoryAuditStore {
    gate: Promise<void> = Promise.resolve();
    batches = 0;

    override async append(rows: readonly AuditEntry[]): Promise<void> {
      await this.gate;
      this.batches += 1;
      await super.append(rows);
    }
  }

  it("stores a change before it is answered", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger() });
    await log.record(entry("job.create"));
    expect(await store.list(10)).to.have.length(1);
  });

  it("has stored all model calls once it is flushed, also those of a write that is on its way", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger() });
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    for (let i = 0; i < 1_200; i++) log.record(entry("llm.chat", String(i)));
    void log.flush();
    const flushed = log.flush();
    gate.resolve();
    await flushed;
    const rows = await store.list(2_000);
    expect(rows.map(({ resource }) => Number(resource))).to.deep.equal(
      Array.from({ length: 1_200 }, (_, i) => 1_199 - i),
    );
    expect(store.batches).to.be.below(10);
  });

  it("goes on after a write that failed", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger() });
    store.gate = Promise.reject(new Error("away"));
    log.record(entry("llm.chat", "lost"));
    await log.flush();
    store.gate = Promise.resolve();
    log.record(entry("llm.chat", "kept"));
    await log.flush();
    expect((await store.list(10)).map(({ resource }) => resource)).to.deep.equal(["kept"]);
  });
});
