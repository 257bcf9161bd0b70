/** The backend's own migrations: from a store of version 1 with data in it to the newest. */
import { hash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { openPostgres, openSqlite } from "@devmesh/mesh/database";
import { expect } from "chai";
import { migrationsOf, postgresSchema } from "../../services/api/stores.ts";
import { postgresUrl } from "../conformance/store-places.ts";
import { newPlace, openBed, type Place, restore } from "./backup-bed.ts";

const secret = `dm_${"a".repeat(43)}`;
const time = "2026-01-02T03:04:05.678Z";

/** What a devmesh of version 1 has written; both dialects take it. */
const rows = `
INSERT INTO tokens (id, name, secret_hash, scopes, created_at)
VALUES ('tok_1', 'kept', '${hash("sha256", secret, "hex")}', '["read:jobs","write:jobs","read:tokens"]', '${time}');
INSERT INTO jobs (id, owner, type, status, isolation, spec, max_attempts, attempt, epoch, runner,
  lease_expires_at, last_seq, attempt_seq, created_at, started_at)
VALUES
  ('job_1', 'tok_1', 'command', 'queued', 1, '{"command":{"argv":["true"]}}', 3, 0, 0, '', NULL, 1, 0, '${time}', NULL),
  ('job_2', 'tok_1', 'command', 'running', 1, '{"command":{"argv":["true"]}}', 3, 1, 1, 'run_1', '${time}', 2, 2, '${time}', '${time}');
INSERT INTO audit (ts, actor, action, resource, outcome, correlation_id)
VALUES ('${time}', 'tok_1', 'job.create', 'job_1', 'ok', 'req_1');`;

describe("a backend's store of version 1", function () {
  this.timeout(300_000);
  let folder: string;
  let serverUrl: string;

  before(async function () {
    serverUrl = await postgresUrl(this);
    folder = mkdtempSync(join(tmpdir(), "from-v1-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function expectHistory(place: Place): Promise<void> {
    const bed = await openBed(place);
    try {
      const { tokens } = await bed.client(TokenService, secret).listTokens({});
      expect(tokens.map(({ name }) => name)).to.include("kept");
      const jobs = bed.client(JobService);
      const statuses = [];
      for (const id of ["job_1", "job_2"]) statuses.push((await jobs.getJob({ id })).job?.status);
      expect(statuses[0]).to.equal(JobStatus.QUEUED);
      // Its lease is long over: it runs until a sweep has come by.
      expect(statuses[1]).to.be.oneOf([JobStatus.RUNNING, JobStatus.QUEUED]);
    } finally {
      await bed.close();
    }
  }

  it("is migrated with its data on SQLite, and a copy stays", async () => {
    const place = await newPlace(folder);
    const path = join(place.dataDir, "api.sqlite");
    const db = openSqlite({ path, migrations: migrationsOf("sqlite").slice(0, 1) });
    db.exec(rows);
    db.close();
    await expectHistory(place);
    expect(existsSync(join(place.dataDir, "api.before-2.sqlite"))).to.equal(true);
  });

  it("is migrated with its data on Postgres, and a backup stays that restores", async () => {
    const place = await newPlace(folder, serverUrl);
    const migrations = migrationsOf("postgres").slice(0, 1);
    const pool = await openPostgres({ url: place.storageUrl, schema: postgresSchema, migrations });
    await pool.query(rows);
    await pool.end();
    await expectHistory(place);
    const kept = join(place.dataDir, "backups", "api.before-2.tar.gz");
    for (const server of [undefined, serverUrl]) {
      const target = await newPlace(folder, server);
      await restore(kept, target);
      await expectHistory(target);
    }
  });
});
