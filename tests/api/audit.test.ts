/** The audit: who did what, refused calls too; nothing is lost at the end. */
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import type { AuditEntry } from "@devmesh/mesh/interceptors";
import { createLogger, silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { AuditLog } from "../../services/api/audit/audit-log.ts";
import { MemoryAuditStore } from "../../services/api/audit/audit-store.memory.ts";
import { settled } from "../settled.ts";
import { Bed, reasonOf, trueSpec } from "./bed.ts";

const chatRequest = { model: "m", messages: [{ role: "user", content: "hi" }] };

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

  it("shows each row's hash, and checks the chain, what is still buffered included", async () => {
    const audit = bed.client(AuditService);
    await reasonOf(bed.client(JobService).cancelJob({ id: "job_0" }));
    await reasonOf(bed.client(ChatService).chat(chatRequest));
    const { intact, rows: checked, headHash } = await audit.verifyAudit({});
    expect({ intact, checked }).to.deep.equal({ intact: true, checked: 2n });
    const { events } = await audit.listAuditEvents({});
    expect(events.map(({ action }) => action)).to.deep.equal(["llm.chat", "job.cancel"]);
    expect(events[0]?.hash)
      .to.equal(headHash)
      .and.match(/^[0-9a-f]{64}$/);
    const other = await audit.verifyAudit({ expectedHash: "0".repeat(64) });
    expect(other).to.include({ intact: false, brokenId: 3n });
    expect(await reasonOf(audit.verifyAudit({ expectedHash: "x" }))).to.equal("INVALID_FIELD");
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
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    await log.record(entry("job.create"));
    expect(await store.list(10)).to.have.length(1);
  });

  it("has stored all model calls once it is flushed, also those of a write that is on its way", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
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

  it("keeps rows that could not be stored, in their order, and says so meanwhile", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    log.check();
    store.gate = Promise.reject(new Error("away"));
    log.record(entry("llm.chat", "a"));
    await log.flush();
    expect(() => log.check()).to.throw("away");
    log.record(entry("llm.chat", "b"));
    await log.flush();
    store.gate = Promise.resolve();
    log.record(entry("llm.chat", "c"));
    await log.flush();
    log.check();
    const rows = await store.listFrom(10);
    expect(rows.map(({ resource }) => resource)).to.deep.equal(["a", "b", "c"]);
  });

  it("tries rows that could not be stored again by itself", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    store.gate = Promise.reject(new Error("away"));
    const stored = Promise.withResolvers<void>();
    log.record(entry("llm.chat", "a"));
    await log.flush();
    store.append = async (rows) => {
      expect(rows.map(({ resource }) => resource)).to.deep.equal(["a"]);
      stored.resolve();
    };
    await stored.promise;
    await log.close();
  });

  it("gives rows up in the log alone: when it ends, and when they are too many", async () => {
    const store = new SlowStore();
    const lines: string[] = [];
    const logger = createLogger({
      service: "t",
      destination: { write: (line) => lines.push(line) },
    });
    const log = new AuditLog({ store, logger, clock: new TestClock() });
    store.append = () => Promise.reject(new Error("away"));
    for (let i = 0; i < 10_002; i++) log.record(entry("llm.chat", `row_${i}`));
    await log.flush();
    await log.close();
    const lost = lines.filter((line) => line.includes("audit rows are lost"));
    expect(lost[0]).to.include('"row_0"').and.include('"row_1"').and.not.include('"row_2"');
    expect(lost[1]).to.include('"row_2"').and.include('"row_10001"');
  });

  it("writes many changes that come at once in few transactions, in their order", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    const names = Array.from({ length: 300 }, (_, i) => String(i));
    await Promise.all(names.map((name) => log.record(entry("job.create", name))));
    const rows = await store.listFrom(1_000, 0);
    expect(rows.map(({ resource }) => resource)).to.deep.equal(names);
    expect(store.batches).to.be.below(5);
  });

  it("tells each change of a write that failed, and stores it with the next", async () => {
    const store = new SlowStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    store.gate = Promise.reject(new Error("away"));
    const failed = ["a", "b"].map((name) => log.record(entry("job.create", name)));
    const ended = await Promise.allSettled(failed);
    expect(ended.map(({ status }) => status)).to.deep.equal(["rejected", "rejected"]);
    store.gate = Promise.resolve();
    await log.record(entry("job.create", "c"));
    const rows = await store.listFrom(10);
    expect(rows.map(({ resource }) => resource)).to.deep.equal(["a", "b", "c"]);
  });

  it("keeps strangers from filling it: a few rows of each kind, then one that counts", async () => {
    const store = new MemoryAuditStore();
    const clock = new TestClock();
    const log = new AuditLog({ store, logger: silentLogger(), clock });
    const refused = (action: string, outcome: string): AuditEntry => {
      return { ...entry(action), actor: "anonymous", outcome };
    };
    for (let i = 0; i < 5_000; i++) void log.record(refused("job.create", "UNAUTHENTICATED"));
    for (let i = 0; i < 3; i++) void log.record(refused("token.create", "UNAUTHENTICATED"));
    await log.record({ ...entry("job.create", "job_1"), outcome: "SCOPE_MISSING" });
    clock.advance(60_000);
    await settled();
    await log.flush();
    const rows = await store.list(10_000);
    const kinds = Map.groupBy(rows, ({ action, outcome }) => `${action} ${outcome}`);
    expect(kinds.get("job.create UNAUTHENTICATED")).to.have.length(11);
    expect(kinds.get("token.create UNAUTHENTICATED")).to.have.length(3);
    expect(kinds.get("job.create SCOPE_MISSING")).to.have.length(1);
    expect(rows[0]).to.include({ actor: "anonymous", resource: "4990 more in this minute" });
    await log.record(refused("job.create", "UNAUTHENTICATED"));
    expect((await store.list(1))[0]).to.include({ resource: "" });
    await log.close();
  });

  it("keeps callers that come too often from filling it, each counted by itself", async () => {
    const store = new MemoryAuditStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    const refused = { ...entry("job.create"), outcome: "RATE_LIMITED" };
    for (let i = 0; i < 500; i++) void log.record(refused);
    for (let i = 0; i < 3; i++) void log.record({ ...refused, actor: "tok_2" });
    await log.close();
    const rows = await store.list(1_000);
    const actors = Map.groupBy(rows, ({ actor }) => actor);
    expect(actors.get("tok_1")).to.have.length(11);
    expect(actors.get("tok_2")).to.have.length(3);
    expect(rows[0]).to.include({ actor: "tok_1", resource: "490 more in this minute" });
  });

  it("has written what it counted when it is closed", async () => {
    const store = new MemoryAuditStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    const refused = { ...entry("job.create"), actor: "anonymous", outcome: "UNAUTHENTICATED" };
    for (let i = 0; i < 15; i++) void log.record(refused);
    await log.close();
    expect((await store.list(1))[0]).to.include({ resource: "5 more in this minute" });
  });

  it("counts successes of strangers as nothing: each has its row", async () => {
    const store = new MemoryAuditStore();
    const log = new AuditLog({ store, logger: silentLogger(), clock: new TestClock() });
    const redeemed = { ...entry("console_link.redeem"), actor: "anonymous" };
    await Promise.all(Array.from({ length: 30 }, () => log.record(redeemed)));
    expect(await store.list(100)).to.have.length(30);
  });
});
