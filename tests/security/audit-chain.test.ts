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

/** Who has the password takes them away. */
const guards = {
  sqlite: `
    DROP TRIGGER audit_is_never_changed;
    DROP TRIGGER audit_is_never_removed;
    DROP TRIGGER audit_begins_with_one;
    DROP TRIGGER audit_head_never_goes_back;
    DROP TRIGGER audit_head_is_never_removed`,
  postgres: `
    DROP TRIGGER audit_is_never_changed ON audit;
    DROP TRIGGER audit_is_never_removed ON audit;
    DROP TRIGGER audit_is_never_emptied ON audit;
    ALTER TABLE audit DROP CONSTRAINT audit_begins_with_one;
    DROP TRIGGER audit_head_never_goes_back ON audit_head;
    DROP TRIGGER audit_head_is_never_removed ON audit_head;
    DROP TRIGGER audit_head_is_never_emptied ON audit_head`,
};

async function sqlite(): Promise<Place> {
  const dataDir = await mkdtemp(join(tmpdir(), "devmesh-chain-"));
  const stores = await openStores({
    ...{ storageUrl: "sqlite:api.db", dataDir, clock: new TestClock() },
  });
  const db = new DatabaseSync(join(dataDir, "api.db"));
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

/** The start of a statement that puts a row in by hand. */
const insertInto = {
  sqlite: "INSERT INTO audit (id, ts, actor, action, resource, outcome, correlation_id, hash)",
  postgres: `INSERT INTO audit (id, ts, actor, action, resource, outcome, correlation_id, hash)
    OVERRIDING SYSTEM VALUE`,
};

for (const name of ["sqlite", "postgres"] as const) {
  const open = places[name];
  const forged = (id: number, hash: string) =>
    `${insertInto[name]} VALUES (${id}, '2023-11-14T22:13:20.000Z', 'a', 'b', 'c', 'ok', 'd', '${hash}')`;

  describe(`the audit's chain: ${name}`, function () {
    this.timeout(120_000);
    let place: Place;
    let audit: AuditStore;

    before(async function () {
      place = await open(this);
      audit = place.stores.audit;
    });

    it("is guarded by the database itself", async () => {
      await add(2);
      for (const [text, refusal] of [
        ["UPDATE audit SET actor = 'x'", "audit rows are never changed"],
        ["DELETE FROM audit", "audit rows are never removed"],
        ["UPDATE audit_head SET id = 1", "audit_head never goes back"],
        ["DELETE FROM audit_head", "audit_head rows are never removed"],
        [forged(0, ""), name === "sqlite" ? "audit rows begin with 1" : "audit_begins_with_one"],
        ...(name === "postgres"
          ? [
              ["TRUNCATE audit", "audit rows are never removed"],
              ["TRUNCATE audit_head", "audit_head rows are never removed"],
            ]
          : []),
      ]) {
        const error = await place.sql(text ?? "").catch((cause: unknown) => cause);
        expect(String(error), text).to.include(refusal);
      }
      await place.sql(guards[name]);
    });

    after(() => place?.end());
    afterEach(async () => {
      await place.sql("DELETE FROM audit");
      await place.sql("DELETE FROM audit_head");
      await place.sql("INSERT INTO audit_head (one, id, hash) VALUES (1, 0, '')");
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
      for (const hash of ["", "0".repeat(64)]) {
        await place.sql(forged(id, hash));
        expect(await verify()).to.include({ intact: false, brokenId: id });
        await place.sql(`DELETE FROM audit WHERE id = ${id}`);
      }
    });

    it("names rows that were put in ahead of the first", async () => {
      await add(5);
      await place.sql(forged(0, "0".repeat(64)));
      expect(await verify()).to.include({ intact: false, brokenId: 1, rows: 1 });
      await place.sql(forged(-5, ""));
      const verdict = await verify();
      expect(verdict).to.include({ intact: false, brokenId: 1, rows: 1 });
      expect(verdict.detail).to.include("row -5 was put in");
    });

    it("names the first of two rows that changed places", async () => {
      const ids = await add(5);
      const [a, b] = [at(ids, 1), at(ids, 3)];
      await place.sql(
        `CREATE TEMPORARY TABLE swapped AS SELECT * FROM audit WHERE id IN (${a}, ${b})`,
      );
      await place.sql(`DELETE FROM audit WHERE id IN (${a}, ${b})`);
      await place.sql(
        `${insertInto[name]} SELECT ${a + b} - id, ts, actor, action, resource, outcome, correlation_id, hash FROM swapped`,
      );
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

    it("finds that the end is not known any more, and adds nothing then", async () => {
      const ids = await add(5);
      await place.sql("DELETE FROM audit_head");
      const verdict = await verify();
      expect(verdict).to.include({ intact: false, brokenId: at(ids, 4) + 1, rows: 5 });
      expect(verdict.detail).to.include("audit_head");
      const error = await add(1).catch((cause: unknown) => cause);
      expect(String(error)).to.include("audit_head is gone");
      expect((await audit.list(1))[0]?.id).to.equal(at(ids, 4));
      await place.sql("DELETE FROM audit");
      expect(await verify()).to.include({ intact: false, brokenId: 1, rows: 0 });
    });

    it("finds that the end was set back", async () => {
      const ids = await add(5);
      await place.sql(`UPDATE audit_head SET (id, hash) =
        (SELECT id, hash FROM audit WHERE id = ${at(ids, 2)})`);
      const verdict = await verify();
      expect(verdict).to.include({ intact: false, brokenId: at(ids, 3) });
      expect(verdict.detail).to.include(`row ${at(ids, 2)} is known as the last one added`);
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
