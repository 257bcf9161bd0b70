/** Every ledger store against the one suite. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { type Postgres, startPostgres } from "../../scripts/parts/postgres.ts";
import { MemoryLedgerStore } from "../../services/inference/ledger/ledger-store.memory.ts";
import { PostgresLedgerStore } from "../../services/inference/ledger/ledger-store.postgres.ts";
import { SqliteLedgerStore } from "../../services/inference/ledger/ledger-store.sqlite.ts";
import {
  ledgerEntry,
  ledgerStoreSuite,
} from "../../services/inference/ledger/ledger-store.suite.ts";
import { log, need } from "../parts/need.ts";

describe("conformance of ledger stores", function () {
  this.timeout(120_000);
  let postgres: Postgres | undefined;
  let schemas = 0;

  after(async () => {
    await postgres?.stop();
  });

  ledgerStoreSuite("memory", async () => new MemoryLedgerStore());

  ledgerStoreSuite("sqlite", async () => new SqliteLedgerStore({ path: ":memory:" }));

  ledgerStoreSuite("postgres", async (context) => {
    postgres ??= need(context, await startPostgres({ log }));
    schemas += 1;
    return await PostgresLedgerStore.open({ url: postgres.url, schema: `ledger_${schemas}` });
  });

  it("keeps a SQLite ledger across a restart", async () => {
    const folder = await mkdtemp(join(tmpdir(), "ledger-"));
    try {
      const path = join(folder, "inference.db");
      const first = new SqliteLedgerStore({ path });
      await first.append([ledgerEntry("a")]);
      await first.close();
      const second = new SqliteLedgerStore({ path });
      expect(await second.list({}, { limit: 2 })).to.deep.equal([ledgerEntry("a")]);
      await second.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
