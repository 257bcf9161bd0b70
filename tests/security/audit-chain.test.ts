/** Who changes audit rows behind the program's back is found out, and so is the row. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { Client } from "pg";
import { hashOfRow } from "../../services/api/audit/audit-chain.ts";
import type { AuditStore } from "../../services/api/audit/audit-store.ts";
import { verifyAudit } from "../../services/api/audit/audit-verifier.ts";
import { openStores, postgresSchema, type Stores } from "../../services/api/stores.ts";
import { postgresUrl } from "../conformance/store-places.ts";

/** A store, and the way of somebody who has its database's password. */
interface Place {
  readonly stores: Stores;
  sql(text: string): Promise<unknown>;
  end(): Promise<void>;
}

/** Who has the password takes them away; only Postgres has one for TRUNCATE. */
const triggers = ["audit_is_never_changed", "audit_is_never_removed", "audit_is_never_emptied"];

async function sqlite(): Promise<Place> {
  const dataDir = await mkdtemp(join(tmpdir(), "devmesh-chain-"));
  const stores = await openStores({
    ...{ storageUrl: "sqlite:api.db", dataDir, clock: new TestClock() },
  });
  const db = new DatabaseSync(join(dataDir, "api.db"));
  for (const name of triggers)
    if (name !== "audit_is_never_emptied") db.exec(`DROP TRIGGER ${name}`);
  return {
    stores,
    sql: async (text) => db.exec(text),
    end: async () => {
      db.close();
      await stores.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function postgres(context: Mocha.Context): Promise<Place> {
  const server = await postgresUrl(context);
  const admin = new Client({ connectionString: server });
  await admin.connect();
  await admin.query("DROP DATABASE IF EXISTS chain");
  await admin.query("CREATE DATABASE chain");
  await admin.end();
  const url = new URL("/chain", server).href;
  const stores = await openStores({
    ...{ storageUrl: url, dataDir: tmpdir(), clock: new TestClock() },
  });
  const client = new Client({ connectionString: url, options: `-c search_path=${postgresSchema}` });
  await client.connect();
  for (const name of triggers) await client.query(`DROP TRIGGER ${name} ON audit`);
  return {
    stores,
    sql: (text) => client.query(text),
    end: async () => {
      await client.end();
      await stores.close();
    },
  };
}

const places = { sqlite, postgres };

for (const [name, open] of Object.entries(places)) {
  describe(`the audit's chain: ${name}`, function () {
    this.timeout(120_000);
    let place: Place;
    let audit: AuditStore;

    before(async function () {
      place = await open(this);
      audit = place.stores.audit;
    });
    after(() => place?.end());
    beforeEach(async () => {
      await place.sql("DELETE FROM audit");
      await place.sql("UPDATE audit_head SET id = 0, hash = ''");
    });

    /** Adds rows; answers their ids. */
    async function add(count: number): Promise<number[]> {
      const [newest] = await audit.list(1);
      const rows = Array.from({ length: count }, (_, i) => ({
        ...{ timeMs: 1_700_000_000_000 + i, actor: "tok_1", action: "job.create" },
        ...{ resource: `job_${i}`, outcome: "ok", correlationId: `req_${i}` },
      }));
      await audit.append(rows);
      return (await audit.listFrom(count, newest?.id ?? 0)).map(({ id }) => id);
    }

    const verify = (expected = "") => verifyAudit(audit, expected, new AbortController().signal);
    const at = (ids: readonly number[], index: number) => ids[index] ?? -1;

    it("is intact when nobody has touched it, page after page", async () => {
      await add(2_500);
      const verdict = await verify();
      expect(verdict).to.include({ intact: true, rows: 2_500, brokenId: 0, detail: "" });
      expect(verdict.headHash).to.equal((await audit.list(1))[0]?.hash);
    });

    it("is intact without a row", async () => {
      expect(await verify()).to.include({ intact: true, rows: 0, headHash: "" });
    });

    for (const change of [
      "actor = 'tok_2'",
      "action = 'job.cancel'",
      "resource = 'job_x'",
      "outcome = 'NOT_FOUND'",
      "correlation_id = ''",
      "ts = '2020-01-01T00:00:00.000Z'",
      "hash = 'x'",
      "hash = ''",
      // The same text over both fields together.
      "actor = 'tok_1j', action = 'ob.create'",
    ]) {
      it(`names the row that was altered: ${change}`, async () => {
        const ids = await add(5);
        const id = at(ids, 2);
        await place.sql(`UPDATE audit SET ${change} WHERE id = ${id}`);
        const verdict = await verify();
        expect(verdict).to.include({ intact: false, brokenId: id, rows: 3 });
        expect(verdict.detail).to.include(`row ${id} `);
      });
    }

    it("names a row altered far behind the first page", async () => {
      const ids = await add(2_500);
      await place.sql(`UPDATE audit SET outcome = 'ok ' WHERE id = ${at(ids, 1_700)}`);
      expect(await verify()).to.include({ intact: false, brokenId: at(ids, 1_700), rows: 1_701 });
    });

    it("names the row behind one that was altered together with its hash", async () => {
      const ids = await add(5);
      const [first, second] = await audit.listFrom(2, 0);
      if (first === undefined || second === undefined) throw new Error("no rows");
      const { hash: _, ...row } = second;
      const forged = hashOfRow(first.hash, { ...row, actor: "tok_9" });
      await place.sql(`UPDATE audit SET actor = 'tok_9', hash = '${forged}' WHERE id = ${row.id}`);
      expect(await verify()).to.include({ intact: false, brokenId: at(ids, 2) });
    });

    for (const [what, index] of [
      ["the first row", 0],
      ["a row", 2],
    ] as const) {
      it(`names the row behind ${what} that was removed`, async () => {
        const ids = await add(5);
        await place.sql(`DELETE FROM audit WHERE id = ${at(ids, index)}`);
        const verdict = await verify();
        expect(verdict).to.include({ intact: false, brokenId: at(ids, index + 1) });
        expect(verdict.detail).to.include("are gone");
      });
    }

    it("names a row that was put in", async () => {
      const ids = await add(5);
      const id = at(ids, 4) + 1;
      const overriding = name === "postgres" ? "OVERRIDING SYSTEM VALUE" : "";
      for (const hash of ["", "0".repeat(64)]) {
        await place.sql(`INSERT INTO audit (id, ts, actor, action, resource, outcome, correlation_id, hash)
          ${overriding} VALUES (${id}, '2023-11-14T22:13:20.000Z', 'a', 'b', 'c', 'ok', 'd', '${hash}')`);
        expect(await verify()).to.include({ intact: false, brokenId: id });
        await place.sql(`DELETE FROM audit WHERE id = ${id}`);
      }
    });

    it("names the first of two rows that changed places", async () => {
      const ids = await add(5);
      const [a, b] = [at(ids, 1), at(ids, 3)];
      const overriding = name === "postgres" ? "OVERRIDING SYSTEM VALUE" : "";
      await place.sql(
        `CREATE TEMPORARY TABLE swapped AS SELECT * FROM audit WHERE id IN (${a}, ${b})`,
      );
      await place.sql(`DELETE FROM audit WHERE id IN (${a}, ${b})`);
      await place.sql(`INSERT INTO audit (id, ts, actor, action, resource, outcome, correlation_id, hash)
        ${overriding} SELECT ${a + b} - id, ts, actor, action, resource, outcome, correlation_id, hash FROM swapped`);
      await place.sql("DROP TABLE swapped");
      expect(await verify()).to.include({ intact: false, brokenId: a });
    });

    it("finds a tail that was cut off", async () => {
      const ids = await add(5);
      await place.sql(`DELETE FROM audit WHERE id >= ${at(ids, 3)}`);
      const verdict = await verify();
      expect(verdict).to.include({ intact: false, brokenId: at(ids, 3), rows: 3 });
      expect(verdict.detail).to.include("cut off");
    });

    it("finds that all rows are gone, also when others came after them", async () => {
      await add(5);
      await place.sql("DELETE FROM audit");
      expect(await verify()).to.include({ intact: false, brokenId: 1, rows: 0 });
      const [next] = await add(1);
      expect(await verify()).to.include({ intact: false, brokenId: next, rows: 1 });
    });

    it("finds a tail that was cut off together with its head, by a hash that was kept elsewhere", async () => {
      const ids = await add(5);
      const { headHash } = await verify();
      expect(await verify(headHash)).to.include({ intact: true });
      await add(3);
      expect(await verify(headHash)).to.include({ intact: true, rows: 8 });
      await place.sql(`DELETE FROM audit WHERE id >= ${at(ids, 3)}`);
      await place.sql(`UPDATE audit_head SET (id, hash) =
        (SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1)`);
      expect(await verify()).to.include({ intact: true, rows: 3 });
      const verdict = await verify(headHash);
      expect(verdict).to.include({ intact: false, brokenId: at(ids, 3) });
      expect(verdict.detail).to.include("cut off");
    });

    it("goes on behind a tail that was cut off with ids that were never given", async () => {
      const ids = await add(5);
      await place.sql(`DELETE FROM audit WHERE id >= ${at(ids, 3)}`);
      const [next] = await add(1);
      expect(next).to.be.greaterThan(at(ids, 4));
    });

    it("takes rows from before the chain at its start, and nowhere else", async () => {
      const ids = await add(5);
      await place.sql(`UPDATE audit SET hash = '' WHERE id <= ${at(ids, 4)}`);
      await place.sql("UPDATE audit_head SET hash = ''");
      const later = await add(5);
      expect(await verify()).to.include({ intact: true, rows: 10 });
      await place.sql(`UPDATE audit SET hash = '' WHERE id = ${at(later, 2)}`);
      expect(await verify()).to.include({ intact: false, brokenId: at(later, 2) });
    });
  });
}
