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
import { poolOf, withTransaction } from "../../services/mesh/database/postgres.ts";
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
      await client.query("TRUNCATE jobs, job_events, job_keys, job_leases, job_fences");
      await client.query(`
        INSERT INTO jobs (id, owner, type, status, isolation, spec, max_attempts, last_seq, created_at,
          priority, hold, available_at, queue_expires_at, concurrency_key, concurrency_limit, ended_at,
          placement)
        SELECT 'job_' || lpad(n::text, 8, '0'), 'o' || n % 5,
          CASE n % 7 WHEN 0 THEN 'agent' ELSE 'command' END, status,
          1 + n % 4, '{"command":{"argv":["true"]}}', 2, 1, now(), n % 3, hold,
          CASE hold WHEN 'delay' THEN now() + n * interval '1 second' END,
          CASE n % 3 WHEN 0 THEN now() + n * interval '1 second' END,
          CASE WHEN hold = 'key' THEN 'k' || n % 9 ELSE '' END, 2,
          CASE status WHEN 'failed' THEN now() END,
          CASE WHEN n % 8 = 4 THEN 'zone=z' || n % 5 || chr(10) ELSE '' END
        FROM (
          SELECT n,
            CASE n % 2 WHEN 0 THEN 'queued' ELSE CASE n % 1001 WHEN 0 THEN 'running' ELSE 'failed' END END
              AS status,
            CASE WHEN n % 2 = 1 THEN '' WHEN n % 16 = 0 THEN 'delay' WHEN n % 16 = 2 THEN 'key' ELSE '' END
              AS hold
          FROM generate_series(1, 20000) AS n
        ) AS made`);
      await client.query(`
        INSERT INTO job_keys (owner, key, fingerprint, job_id, expires_at)
        SELECT owner, id, 'f', id, now() + interval '1 day' FROM jobs LIMIT 5000`);
      await client.query(`
        INSERT INTO job_leases (job_id, epoch, runner, expires_at)
        SELECT 'job_' || lpad(n::text, 8, '0'), 1, 'r', now() + interval '1 day'
        FROM generate_series(1, 2000) AS n`);
      await client.query(`
        INSERT INTO job_fences (job_id, epoch, action, runner, count, ts)
        SELECT 'job_' || lpad(n::text, 8, '0'), 1, 'append', 'r', 1, now()
        FROM generate_series(1, 2000) AS n`);
      await client.query(`
        INSERT INTO job_events (job_id, seq, ts, kind, level, message, payload)
        SELECT 'job_' || lpad((n % 100)::text, 8, '0'), n, now(), 'log', 'info', '', 'x'
        FROM generate_series(1, 20000) AS n`);
      await client.query("VACUUM ANALYZE jobs, job_events, job_keys, job_leases, job_fences");
    });

    after(() => client.query("TRUNCATE jobs, job_events, job_keys, job_leases, job_fences"));

    const id = "job_00000001";
    const some = ["~", 50, ["agent"], ["queued"]];
    const placed = [5, "r1", 0, "h", ["", "zone=z1\n"]];
    const none = Array.from({ length: 20 }, () => null);
    /** Every statement with its parameters, and the indexes that it goes by. */
    const wanted: Record<keyof typeof jobSql, { values: unknown[]; by: string[] }> = {
      accept: { values: none.slice(0, 18), by: [] },
      findKey: { values: ["o", "k"], by: ["job_keys_pkey"] },
      dropKeys: { values: [], by: ["job_keys_expiry"] },
      find: { values: [id], by: ["jobs_pkey"] },
      listAll: { values: ["~", 50], by: ["jobs_pkey"] },
      listSome: { values: some, by: ["jobs_listed"] },
      listOwned: { values: [...some, "o"], by: ["jobs_owned"] },
      placements: { values: [["a=1", "zone=z1"]], by: ["jobs_queued_4"] },
      claim1: { values: [5, "r1", 0, "h"], by: ["jobs_queued_1", "jobs_pkey"] },
      claim2: { values: [5, "r1", 0, "h"], by: ["jobs_queued_2", "jobs_pkey"] },
      claim3: { values: [5, "r1", 0, "h"], by: ["jobs_queued_3", "jobs_pkey"] },
      claim4: { values: [5, "r1", 0, "h"], by: ["jobs_queued_4", "jobs_pkey"] },
      claimPlaced1: { values: placed, by: ["jobs_queued_1", "jobs_pkey"] },
      claimPlaced2: { values: placed, by: ["jobs_queued_2", "jobs_pkey"] },
      claimPlaced3: { values: placed, by: ["jobs_queued_3", "jobs_pkey"] },
      claimPlaced4: { values: placed, by: ["jobs_queued_4", "jobs_pkey"] },
      leaseHolder: { values: [id], by: ["jobs_pkey"] },
      promote: { values: [], by: ["jobs_delayed"] },
      lockKey: { values: ["o", "k"], by: [] },
      fill: { values: ["o", "k1"], by: ["jobs_key_waiting", "jobs_key_active"] },
      fillable: { values: [], by: ["jobs_key_waiting", "jobs_key_active"] },
      holders: { values: ["o", "k1"], by: ["jobs_key_active"] },
      ahead: { values: [0, id, ["", "zone=z1\n"]], by: ["jobs_queued_4"] },
      renew: { values: [[id], [1], 0], by: ["job_leases_pkey", "jobs_pkey"] },
      append: { values: [id, 1, 1, 1, "x", [], [], [], [], [], [], []], by: ["jobs_running"] },
      move: {
        values: [
          id,
          1,
          "failed",
          1,
          false,
          "queued",
          2,
          1,
          "",
          0,
          0,
          ...none.slice(0, 2),
          false,
          ...none.slice(0, 6),
        ],
        by: ["jobs_pkey"],
      },
      markCancel: { values: [id, 1, "", ""], by: ["jobs_running"] },
      markAnswer: { values: [id, 4, "{}"], by: ["jobs_pkey"] },
      tell: { values: [["a b"]], by: [] },
      now: { values: [], by: [] },
      expired: { values: [], by: ["jobs_pkey"] },
      queueExpired: { values: [], by: ["jobs_queue_expiry"] },
      readEvents: { values: [id, 1, 200, 1_000_000], by: ["job_events_pkey"] },
      noteFence: { values: [id, 1, "append"], by: ["jobs_pkey"] },
      fences: { values: [id], by: ["job_fences_pkey"] },
      trimmable: { values: [1_000, 50], by: ["jobs_ended"] },
      trim: { values: [id, 1, "", ""], by: ["jobs_pkey", "job_events_pkey"] },
      // Counts what waits: where that is a good part of the table, a scan of it is the best there is.
      stats: { values: [], by: ["jobs_delayed", "jobs_running"] },
      readQueue: { values: [], by: [] },
      pause: { values: [""], by: [] },
      resume: { values: [], by: [] },
      ping: { values: [], by: [] },
    };
    for (const [name, { values, by }] of Object.entries(wanted)) {
      it(`plans ${name} ${by.length === 0 ? "" : `with ${by.join(", ")} and `}with no scan of a long table`, async () => {
        const text = jobSql[name as keyof typeof jobSql];
        const { rows } = await client.query(`EXPLAIN ${text}`, values);
        const plan = rows.map((row) => String(row["QUERY PLAN"])).join("\n");
        for (const index of by) expect(plan).to.match(new RegExp(`Index.* Scan.* ${index}\\b`));
        if (name !== "stats") expect(plan).not.to.match(/Seq Scan on (jobs|job_events|job_keys)\b/);
        if (/^claim\d/.test(name)) {
          const picked = plan.slice(plan.indexOf("CTE picked"), plan.indexOf("CTE claimed"));
          expect(picked, "jobs come in the index's order").not.to.contain("Sort");
        }
      });
    }
  });

  it("hears of another backend's changes again after its connection was cut", async () => {
    const other = await open();
    const { jobs } = other;
    let heard = 0;
    const stop = stores.jobs.onChange(() => {
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
    await other.close();
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

  it("outlives a connection that is cut in the middle of a transaction", async () => {
    const pool = poolOf({ url, schema: postgresSchema });
    const cut = withTransaction(pool, async (held) => {
      const { rows } = await held.query("SELECT pg_backend_pid() AS pid");
      const ended = new Promise((resolve) => held.once("end", resolve));
      await client.query("SELECT pg_terminate_backend($1)", [rows[0]?.pid]);
      await ended;
      await held.query("SELECT 1");
    });
    expect(await cut.catch((error: unknown) => error)).to.be.instanceOf(Error);
    await withTransaction(pool, (held) => held.query("SELECT 1"));
    await pool.end();
  });

  it("refuses a schema of a newer version", async () => {
    const { rows } = await client.query(
      `INSERT INTO schema_migrations (version, name, checksum)
       SELECT max(version) + 1, 'x', 'y' FROM schema_migrations RETURNING version`,
    );
    expect(await reasonOf(open())).to.equal("STORE_TOO_NEW");
    await client.query("DELETE FROM schema_migrations WHERE version = $1", [rows[0]?.version]);
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
