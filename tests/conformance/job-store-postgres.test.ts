/** What only the Postgres stores can show: plans, connections that come back, tables that people can read. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { Client } from "pg";
import { jobSql } from "../../services/api/jobs/job-sql.postgres.ts";
import {
  accept,
  history,
  hold,
  log,
  note,
  reasonOf,
  result,
} from "../../services/api/jobs/job-store.suite.bed.ts";
import { openStores, postgresSchema, type Stores } from "../../services/api/stores.ts";
import { TestClock } from "../../services/mesh/runtime/index.ts";
import { postgresUrl } from "./store-places.ts";

describe("job store on Postgres", function () {
  this.timeout(60_000);
  let url = "";
  let dataDir = "";
  let client: Client;
  let stores: Stores;
  const open = () => openStores({ storageUrl: url, dataDir, clock: new TestClock() });

  before(async function () {
    const server = await postgresUrl(this);
    dataDir = await mkdtemp(join(tmpdir(), "devmesh-postgres-"));
    const admin = new Client({ connectionString: server });
    await admin.connect();
    await admin.query("CREATE DATABASE dialect");
    await admin.end();
    url = new URL("/dialect", server).href;
    stores = await open();
    client = new Client({ connectionString: url, options: `-c search_path=${postgresSchema}` });
    await client.connect();
  });

  after(async () => {
    await client?.end();
    await stores?.close();
    if (dataDir !== "") await rm(dataDir, { recursive: true, force: true });
  });

  describe("with 20,000 jobs", () => {
    before(async () => {
      await client.query("TRUNCATE jobs, job_events, job_keys");
      await client.query(`
        INSERT INTO jobs (id, owner, type, status, isolation, spec, max_attempts, last_seq, created_at)
        SELECT 'job_' || lpad(n::text, 8, '0'), 'o', CASE n % 7 WHEN 0 THEN 'agent' ELSE 'command' END,
          CASE n % 2 WHEN 0 THEN 'queued' WHEN 1 THEN CASE n % 1001 WHEN 0 THEN 'running' ELSE 'failed' END END,
          1 + n % 4, '{"command":{"argv":["true"]}}', 2, 1, now()
        FROM generate_series(1, 20000) AS n`);
      await client.query(`
        INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
        SELECT 'job_' || lpad((n % 100)::text, 8, '0'), n, now(), 'log', 'info', '', 'x'
        FROM generate_series(1, 20000) AS n`);
      await client.query("ANALYZE");
    });

    after(() => client.query("TRUNCATE jobs, job_events, job_keys"));

    const some = ["~", 50, ["agent"], ["queued"]];
    const wanted: Record<string, { values: unknown[]; index: string }> = {
      claim1: { values: [5, "r1", 0], index: "jobs_queued_1" },
      claim2: { values: [5, "r1", 0], index: "jobs_queued_2" },
      claim3: { values: [5, "r1", 0], index: "jobs_queued_3" },
      claim4: { values: [5, "r1", 0], index: "jobs_queued_4" },
      expired: { values: [], index: "jobs_running" },
      listAll: { values: ["~", 50], index: "jobs_pkey" },
      listSome: { values: some, index: "jobs_listed" },
      readEvents: { values: ["job_00000001", 1, 200, 1_000_000], index: "job_events_pkey" },
      renew: { values: [["job_00000001"], [1], 0], index: "jobs_running" },
    };
    for (const [name, { values, index }] of Object.entries(wanted)) {
      it(`plans ${name} with ${index} and no scan of a table`, async () => {
        const text = jobSql[name as keyof typeof jobSql];
        const { rows } = await client.query(`EXPLAIN ${text}`, values);
        const plan = rows.map((row) => String(row["QUERY PLAN"])).join("\n");
        expect(plan).to.match(new RegExp(`Index.* Scan.* ${index}\\b`));
        expect(plan).not.to.match(/Seq Scan on (jobs|job_events)/);
        if (name.startsWith("claim")) {
          const picked = plan.slice(plan.indexOf("CTE picked"), plan.indexOf("CTE claimed"));
          expect(picked, "jobs come in the index's order").not.to.contain("Sort");
        }
      });
    }
  });

  it("hears of changes again after its connection was cut", async () => {
    const { jobs } = stores;
    let heard = 0;
    const stop = jobs.onChange(() => {
      heard += 1;
    });
    const { lease, nextSeq } = await hold(jobs);
    let seq = nextSeq;
    const untilHeard = async () => {
      heard = 0;
      while (heard === 0) seq = 1 + (await jobs.append(lease, [log(seq, "a")]));
    };
    await untilHeard();
    const listeners = `SELECT pid FROM pg_stat_activity
      WHERE query = 'LISTEN devmesh_api_jobs' AND datname = 'dialect'`;
    const { rows } = await client.query(
      `SELECT pg_terminate_backend(pid) FROM (${listeners}) AS l`,
    );
    expect(rows).to.have.length(1);
    await untilHeard();
    stop();
    const [job] = await jobs.list({ limit: 1, statuses: [], type: "" });
    expect(await history(jobs, job?.id ?? "")).to.have.length(seq - 1);
    await jobs.finish(lease, seq, result());
  });

  it("goes on after all connections of its pool were cut, and says UNAVAILABLE meanwhile", async () => {
    const { jobs } = stores;
    await Promise.all(Array.from({ length: 10 }, () => jobs.ping()));
    const cut = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = 'dialect' AND pid <> pg_backend_pid()`;
    const [first] = await Promise.all([reasonOf(jobs.ping()), client.query(cut)]);
    expect(first).to.be.oneOf(["ok", "UNAVAILABLE"]);
    const reasons = new Set<string>();
    while (!reasons.has("ok")) reasons.add(await reasonOf(jobs.ping()));
    for (const reason of reasons) expect(reason).to.be.oneOf(["ok", "UNAVAILABLE"]);
  });

  it("refuses a schema of a newer version", async () => {
    const insert = "INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'x', 'y')";
    await client.query(insert);
    expect(await reasonOf(open())).to.equal("STORE_TOO_NEW");
    await client.query("DELETE FROM schema_migrations WHERE version = 999");
  });

  it("keeps events so that people can read them", async () => {
    const { jobs } = stores;
    const { id } = await accept(jobs);
    const { lease } = await hold(jobs);
    await jobs.append(lease, [log(3, "hello\n"), note(4, "made a sandbox")]);
    await jobs.finish(lease, 5, result());
    const { rows } = await client.query(
      `SELECT kind, level, stream, message, payload FROM readable_job_events
       WHERE job_id = $1 ORDER BY seq`,
      [id],
    );
    expect(rows.map(({ payload: _, ...row }) => row)).to.deep.equal([
      { kind: "status", level: "info", stream: null, message: "queued" },
      { kind: "status", level: "info", stream: null, message: "running on r1, attempt 1" },
      { kind: "log", level: "info", stream: "stdout", message: "" },
      { kind: "note", level: "info", stream: null, message: "made a sandbox" },
      { kind: "result", level: "info", stream: null, message: "succeeded" },
    ]);
    expect(rows[2]?.payload).to.equal("hello\n");
    expect(JSON.parse(rows[1]?.payload)).to.include({ status: "JOB_STATUS_RUNNING", runner: "r1" });
  });

  it("lets nobody change an audit row", async () => {
    const row = { timeMs: 0, actor: "a", action: "b", resource: "c", outcome: "ok" };
    await stores.audit.append([{ ...row, correlationId: "d" }]);
    let said = "";
    await client.query("UPDATE audit SET actor = 'x'").catch((error: unknown) => {
      said = String(error);
    });
    expect(said).to.contain("never changed");
  });
});
