/** What only the SQLite stores can show: plans, files that last, tables that people can read. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { expect } from "chai";
import { jobSql } from "../../services/api/jobs/job-sql.sqlite.ts";
import {
  accept,
  allEvents,
  history,
  hold,
  log,
  note,
  reasonOf,
  result,
} from "../../services/api/jobs/job-store.suite.bed.ts";
import { migrationsOf, openStores } from "../../services/api/stores.ts";
import { openSqlite } from "../../services/mesh/database/index.ts";
import { TestClock } from "../../services/mesh/runtime/index.ts";

describe("job store on SQLite", () => {
  let dataDir = "";
  const openDb = (): DatabaseSync =>
    openSqlite({ path: join(dataDir, "devmesh.db"), migrations: migrationsOf("sqlite") });
  const open = () =>
    openStores({ storageUrl: "sqlite:devmesh.db", dataDir, clock: new TestClock() });

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "devmesh-sqlite-"));
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  const byId = /SEARCH jobs USING PRIMARY KEY \(id=\?\)/;
  const waiting = "jobs USING (COVERING )?INDEX jobs_key_waiting";
  const wanted: Record<keyof typeof jobSql, RegExp> = {
    findKey: /SEARCH job_keys USING PRIMARY KEY \(owner=\? AND key=\?\)$/,
    putKey: /^$/,
    dropKeys: /SEARCH job_keys USING .*INDEX job_keys_expiry \(expires_at<\?\)$/,
    // The look at a foreign key, for violations that were put off: there never are any.
    insertJob: /^SCAN job_keys$/,
    insertEvent: /^$/,
    find: byId,
    listAll: /SEARCH jobs USING PRIMARY KEY \(id<\?\)$/,
    listSome: /SEARCH jobs USING COVERING INDEX jobs_listed \(type=\? AND status=\? AND id<\?\)$/,
    listOwned: /COVERING INDEX jobs_owned \(owner=\? AND type=\? AND status=\? AND id<\?\)$/,
    placements:
      /SEARCH jobs USING COVERING INDEX jobs_queued \(placement>\? AND placement<\?\).*SEARCH jobs USING COVERING INDEX jobs_queued \(placement=\?\)/,
    head: /SEARCH jobs USING COVERING INDEX jobs_queued \(placement=\? AND isolation=\?\)$/,
    claim: byId,
    leaseHolder: byId,
    putLease: /^$/,
    dropLease: /SEARCH job_leases USING PRIMARY KEY \(job_id=\?\)$/,
    renew:
      /SCAN json_each.*; SEARCH job_leases USING PRIMARY KEY \(job_id=\?\); .*SEARCH jobs USING PRIMARY KEY \(id=\?\)$/,
    advance: byId,
    move: /SEARCH jobs USING PRIMARY KEY \(id=\?\).*SEARCH job_leases USING PRIMARY KEY \(job_id=\?\)$/,
    markCancel: byId,
    markAnswer: byId,
    expired: /SEARCH job_leases USING COVERING INDEX job_leases_expiry \(expires_at<\?\)$/,
    queueExpired:
      /SEARCH jobs USING COVERING INDEX jobs_queue_expiry \(queue_expires_at>\? AND queue_expires_at<\?\)$/,
    promote: /SEARCH jobs USING COVERING INDEX jobs_delayed \(available_at<\?\)/,
    waiting: new RegExp(`SEARCH ${waiting} \\(owner=\\? AND concurrency_key=\\?\\)$`),
    taken: /INDEX jobs_key_active \(owner=\? AND concurrency_key=\?\)$/,
    giveSlot: byId,
    nextKey: new RegExp(`SEARCH ${waiting} \\(\\(owner,concurrency_key\\)>\\(\\?,\\?\\)\\)$`),
    holders: /INDEX jobs_key_active \(owner=\? AND concurrency_key=\?\)$/,
    ahead: /SEARCH jobs USING COVERING INDEX jobs_queued \(placement=\? AND isolation=\?\)/,
    readEvents: /SEARCH job_events USING PRIMARY KEY \(job_id=\? AND seq>\?\)$/,
    noteFence: byId,
    fences: /SEARCH job_fences USING PRIMARY KEY \(job_id=\?\)$/,
    trimmable: /SEARCH jobs USING (COVERING )?INDEX jobs_ended \(ended_at>\? AND ended_at<\?\)$/,
    markTrimmed: byId,
    logBytes: /SEARCH job_events USING PRIMARY KEY \(job_id=\? AND seq<\?\)$/,
    dropEvents: /SEARCH job_events USING PRIMARY KEY \(job_id=\? AND seq<\?\)$/,
    countRunning: /COVERING INDEX jobs_running/,
    countQueued: /SEARCH jobs USING COVERING INDEX jobs_listed \(type=\? AND status=\?\)$/,
    readQueue: /SEARCH queue USING INTEGER PRIMARY KEY/,
    pause: /SEARCH queue USING INTEGER PRIMARY KEY/,
    resume: /SEARCH queue USING INTEGER PRIMARY KEY/,
  };
  for (const [name, plan] of Object.entries(wanted)) {
    it(`plans ${name} without a sort or a scan of the table`, () => {
      const db = openDb();
      const text = jobSql[name as keyof typeof jobSql];
      const steps = db.prepare(`EXPLAIN QUERY PLAN ${text}`).all();
      db.close();
      const said = steps.map((row) => String(row.detail)).join("; ");
      expect(said).to.match(plan);
      expect(said).not.to.match(/SCAN (jobs|job_events|job_leases|job_fences)\b(?! USING)/);
      expect(said).not.to.contain("TEMP B-TREE");
    });
  }

  it("has everything when it is opened again", async () => {
    const first = await open();
    const running = await hold(first.jobs);
    await first.jobs.append(running.lease, [log(3, "a"), note(4)]);
    const ended = await hold(first.jobs);
    await first.jobs.finish(ended.lease, 3, result());
    const jobs = await first.jobs.list({ limit: 10, statuses: [], type: "" });
    const events = await allEvents(first.jobs, running.id);
    await first.close();
    const again = await open();
    expect(await again.jobs.list({ limit: 10, statuses: [], type: "" })).to.deep.equal(jobs);
    expect(await allEvents(again.jobs, running.id)).to.deep.equal(events);
    expect(await again.jobs.append(running.lease, [log(5, "b")])).to.equal(5);
    expect((await history(again.jobs, running.id)).slice(2)).to.have.length(3);
    await again.close();
  });

  it("refuses a file of a newer version", async () => {
    await (await open()).close();
    const db = openDb();
    db.exec(`INSERT INTO schema_migrations (version, name, checksum)
      SELECT max(version) + 1, 'x', 'y' FROM schema_migrations`);
    db.close();
    expect(await reasonOf(open())).to.equal("STORE_TOO_NEW");
  });

  it("refuses a place that it does not know", async () => {
    const clock = new TestClock();
    const call = openStores({ storageUrl: "mysql://x", dataDir, clock });
    expect(await reasonOf(call)).to.equal("CONFIG_INVALID");
  });

  it("keeps jobs and events so that people can read them", async () => {
    const { jobs, close } = await open();
    const { id } = await accept(jobs, { id: "job_1" });
    const { lease } = await hold(jobs);
    await jobs.append(lease, [log(3, "hello\n"), note(4, "made a sandbox")]);
    await jobs.finish(lease, 5, result());
    await close();
    const db = openDb();
    const events = db
      .prepare(`SELECT seq, ts, kind, level, stream, message, CAST(payload AS TEXT) AS payload
        FROM job_events WHERE job_id = ? ORDER BY seq`)
      .all(id);
    const job = db.prepare("SELECT type, status, owner, created_at, spec FROM jobs").get();
    db.close();
    const ts = "2023-11-14T22:13:20.000Z";
    expect({ ...job }).to.deep.equal({
      ...{ type: "command", status: "succeeded", owner: "tok_1", created_at: ts },
      spec: '{"command":{"argv":["true"]}}',
    });
    expect(events.map(({ payload: _, ...row }) => row)).to.deep.equal([
      { seq: 1, ts, kind: "status", level: "info", stream: null, message: "queued" },
      {
        seq: 2,
        ts,
        kind: "status",
        level: "info",
        stream: null,
        message: "running on r1, attempt 1",
      },
      { seq: 3, ts, kind: "log", level: "info", stream: "stdout", message: "" },
      { seq: 4, ts, kind: "note", level: "info", stream: null, message: "made a sandbox" },
      { seq: 5, ts, kind: "result", level: "info", stream: null, message: "succeeded" },
    ]);
    expect(events[2]?.payload).to.equal("hello\n");
    expect(JSON.parse(String(events[4]?.payload))).to.include({ driver: "fake", exitCode: 0 });
  });

  it("lets nobody change an audit row", async () => {
    const { audit, close } = await open();
    const row = { timeMs: 0, actor: "a", action: "b", resource: "c", outcome: "ok" };
    await audit.append([{ ...row, correlationId: "d" }]);
    await close();
    const db = openDb();
    expect(() => db.exec("UPDATE audit SET actor = 'x'")).to.throw("never changed");
    db.close();
  });
});
