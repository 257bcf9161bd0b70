/** Postgres behind a bad network: callers hear UNAVAILABLE and recover, and no hint is needed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { Client, Pool } from "pg";
import { PostgresJobChanges } from "../../services/api/jobs/job-changes.postgres.ts";
import { jobChannel } from "../../services/api/jobs/job-sql.postgres.ts";
import { accept, reasonOf } from "../../services/api/jobs/job-store.suite.bed.ts";
import { PostgresQueries } from "../../services/api/postgres-query.ts";
import { openStores, type Stores } from "../../services/api/stores.ts";
import { postgresUrl } from "../conformance/store-places.ts";
import { until } from "../wire/waiting.ts";
import { TcpProxy } from "./tcp-proxy.ts";

describe("Postgres behind a bad network", function () {
  this.timeout(180_000);
  let directUrl: string;
  let proxy: TcpProxy;
  let url: string;
  before(async function () {
    directUrl = await postgresUrl(this);
  });
  beforeEach(async () => {
    const target = new URL(directUrl);
    proxy = await TcpProxy.open({ upstreamPort: Number(target.port) });
    target.port = String(proxy.port);
    url = target.href;
  });
  afterEach(() => proxy.close());

  describe("the store", () => {
    let stores: Stores;
    let dataDir: string;
    beforeEach(async () => {
      dataDir = await mkdtemp(join(tmpdir(), "devmesh-faults-"));
      stores = await openStores({ storageUrl: url, dataDir, clock: new TestClock() });
    });
    afterEach(async () => {
      await stores.close();
      await rm(dataDir, { recursive: true, force: true });
    });

    for (const how of ["reset", "end"] as const) {
      it(`tells callers whose statements are cut by ${how}, and works again`, async () => {
        const job = await accept(stores.jobs);
        const before = proxy.open;
        proxy.hold();
        const calls = [
          stores.jobs.get(job.id),
          stores.jobs.requestCancel(job.id, { detail: "cut", by: "tok_1" }),
          stores.jobs.readEvents(job.id, 1, { maxEvents: 9, maxBytes: 1 << 20 }),
          stores.jobs.stats(),
        ];
        const ends = Promise.all(calls.map((call) => reasonOf(call)));
        // One of them takes the connection that is idle; the listener's is nobody's.
        await until(() => proxy.open >= before + calls.length - 1, "each has a connection");
        proxy.cutAll(how);
        proxy.release();
        expect(new Set(await ends)).to.deep.equal(new Set(["UNAVAILABLE"]));
        expect((await stores.jobs.get(job.id))?.id).to.equal(job.id);
        // Whether the cancel was done nobody could know: it is asked for again.
        await stores.jobs.requestCancel(job.id, { detail: "again", by: "tok_1" });
      });
    }

    it("hears of changes again after the listening connection was cut", async () => {
      const heard = new Set<string>();
      const stop = stores.jobs.onChange((id) => heard.add(id));
      const other = await openStores({ storageUrl: directUrl, dataDir, clock: new TestClock() });
      const changed = async () => {
        const { id } = await accept(other.jobs);
        return heard.has(id);
      };
      try {
        let isHeard = false;
        const look = () => {
          void changed().then((now) => {
            isHeard ||= now;
          });
          return isHeard;
        };
        await until(() => look() || heard.size > 0, "the first hint");
        proxy.cutAll();
        heard.clear();
        isHeard = false;
        await until(() => look() || heard.size > 0, "a hint after the cut");
      } finally {
        stop();
        await other.close();
      }
    });
  });

  it("gives up on a statement whose server is gone without a word, and takes another connection", async () => {
    const pool = new Pool({ connectionString: url, max: 1 });
    pool.on("error", () => {});
    try {
      const queries = new PostgresQueries("faults", { one: "SELECT 1 AS one" }, 300);
      expect(await queries.rows(pool, "one")).to.deep.equal([{ one: 1 }]);
      proxy.swallowAll();
      expect(await reasonOf(queries.rows(pool, "one"))).to.equal("UNAVAILABLE");
      expect(await queries.rows(pool, "one")).to.deep.equal([{ one: 1 }]);
      expect(proxy.accepted).to.equal(2);
    } finally {
      await pool.end();
    }
  });

  it("the listener notices a connection whose other end is gone, and listens again", async () => {
    const send = async () => {};
    const patience = { checkIntervalMs: 100, answerWithinMs: 300 };
    const changes = new PostgresJobChanges({ url, send, ...patience });
    const client = new Client({ connectionString: directUrl });
    await client.connect();
    const heard: string[] = [];
    changes.add((id) => heard.push(id));
    const notify = (id: string) =>
      client.query("SELECT pg_notify($1, $2)", [jobChannel, `other ${id}`]);
    const hear = async (id: string) => {
      while (!heard.includes(id)) await notify(id);
    };
    try {
      await hear("job_before");
      proxy.halfOpenAll();
      await until(() => proxy.accepted === 2, "a second connection");
      await hear("job_after");
    } finally {
      await changes.close();
      await client.end();
    }
  });
});
