import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { Ledger } from "../../services/inference/ledger/ledger.ts";
import { MemoryLedgerStore } from "../../services/inference/ledger/ledger-store.memory.ts";
import { ledgerEntry } from "../../services/inference/ledger/ledger-store.suite.ts";
import type { LedgerEntry } from "../../services/inference/ledger/ledger-store.ts";
import { settled } from "../settled.ts";

class FlakyStore extends MemoryLedgerStore {
  failing = false;
  appends = 0;

  override async append(entries: readonly LedgerEntry[]): Promise<void> {
    this.appends += 1;
    if (this.failing) throw new Error("the disk is full");
    await super.append(entries);
  }
}

describe("ledger", () => {
  const clock = new TestClock();
  const logger = silentLogger();
  const idsIn = async (store: MemoryLedgerStore) =>
    (await store.list({}, { limit: 10 })).map((entry) => entry.id);

  it("writes a batch after a while, not on the call", async () => {
    const store = new FlakyStore();
    const ledger = new Ledger({ store, clock, logger });
    for (const id of ["a", "b", "c"]) ledger.record(ledgerEntry(id));
    expect(store.appends).to.equal(0);
    clock.advance(250);
    await settled();
    expect(store.appends).to.equal(1);
    expect(await idsIn(store)).to.deep.equal(["c", "b", "a"]);
    await ledger.close();
  });

  it("writes what is left when it is closed", async () => {
    const store = new FlakyStore();
    const ledger = new Ledger({ store, clock, logger, batch: 2 });
    for (const id of ["a", "b", "c"]) ledger.record(ledgerEntry(id));
    await ledger.close();
    expect(await idsIn(store)).to.have.length(3);
    expect(store.appends).to.equal(2);
  });

  it("keeps entries while the store fails, and writes them once it works", async () => {
    const store = new FlakyStore();
    const ledger = new Ledger({ store, clock, logger });
    store.failing = true;
    ledger.record(ledgerEntry("a"));
    clock.advance(250);
    await settled();
    store.failing = false;
    clock.advance(250);
    await settled();
    expect(await idsIn(store)).to.deep.equal(["a"]);
    await ledger.close();
  });

  it("keeps no more than its bound", async () => {
    const store = new FlakyStore();
    const ledger = new Ledger({ store, clock, logger, maxPending: 2 });
    for (const id of ["a", "b", "c"]) ledger.record(ledgerEntry(id));
    await ledger.close();
    expect(await idsIn(store)).to.deep.equal(["c", "b"]);
  });
});
