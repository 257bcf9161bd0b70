/** What every audit store holds to. */
import { expect } from "chai";
import { hashOfRow } from "./audit-chain.ts";
import type { AuditInput, AuditStore } from "./audit-store.ts";
import { verifyAudit } from "./audit-verifier.ts";

const signal = () => new AbortController().signal;

function row(more: Partial<AuditInput> = {}): AuditInput {
  return {
    ...{ timeMs: 1_700_000_000_123, actor: "tok_1", action: "job.create", resource: "job_1" },
    ...{ outcome: "ok", correlationId: "req_1" },
    ...more,
  };
}

/** What the suite needs. */
export interface AuditStoreBed {
  /** An empty store. */
  fresh(): Promise<AuditStore>;
  /** The same store opened once more, as another process has it where there can be one. */
  again(): Promise<AuditStore>;
}

/** Declares the tests. Each starts with the empty store that `fresh` gives. */
export function auditStoreSuite({ fresh, again }: AuditStoreBed): void {
  let store: AuditStore;
  beforeEach(async () => {
    store = await fresh();
  });

  it("lists rows to the letter, newest first, with rising ids", async () => {
    const rows = [row(), row({ resource: "", actor: "ü '\"" }), row({ outcome: "NOT_FOUND" })];
    await store.append(rows.slice(0, 2));
    await store.append(rows.slice(2));
    const listed = await store.list(10);
    expect(listed.map(({ id: _id, hash: _hash, detail: _detail, ...rest }) => rest)).to.deep.equal(
      rows.toReversed(),
    );
    const ids = listed.map(({ id }) => id);
    expect(ids).to.deep.equal([...new Set(ids)].sort((a, b) => b - a));
  });

  it("pages", async () => {
    await store.append(Array.from({ length: 25 }, (_, i) => row({ resource: `job_${i}` })));
    const seen: string[] = [];
    let page = await store.list(10);
    while (page.length > 0) {
      seen.push(...page.map(({ resource }) => resource));
      page = await store.list(10, page.at(-1)?.id);
    }
    expect(seen).to.deep.equal(Array.from({ length: 25 }, (_, i) => `job_${24 - i}`));
  });

  it("takes no rows, and any text", async () => {
    await store.append([]);
    expect(await store.list(10)).to.deep.equal([]);
    await store.append([row({ resource: "nul \0" })]);
    expect(await store.list(10)).to.have.length(1);
  });

  it("loses nothing of many appends at once", async () => {
    const calls = Array.from({ length: 20 }, (_, i) =>
      store.append([row({ resource: `a${i}` }), row({ resource: `b${i}` })]),
    );
    await Promise.all(calls);
    const listed = await store.list(100);
    expect(new Set(listed.map(({ resource }) => resource)).size).to.equal(40);
    expect(new Set(listed.map(({ id }) => id)).size).to.equal(40);
  });

  it("lists rows from the oldest on", async () => {
    await store.append(Array.from({ length: 25 }, (_, i) => row({ resource: `job_${i}` })));
    const seen: string[] = [];
    let page = await store.listFrom(10, 0);
    while (page.length > 0) {
      seen.push(...page.map(({ resource }) => resource));
      page = await store.listFrom(10, page.at(-1)?.id ?? 0);
    }
    expect(seen).to.deep.equal(Array.from({ length: 25 }, (_, i) => `job_${i}`));
  });

  it("chains each row to the one before, over all appends", async () => {
    await store.append([row(), row({ resource: "job_2" })]);
    await store.append([row({ outcome: "NOT_FOUND" })]);
    let before = "";
    for (const { hash, ...rest } of await store.listFrom(10, 0)) {
      expect(hash).to.equal(hashOfRow(before, rest));
      before = hash;
    }
    expect((await store.list(1))[0]?.hash).to.equal(before);
  });

  it("knows its last row, and gives each id once, without a gap", async () => {
    expect(await store.head()).to.deep.equal({ id: 0, hash: "" });
    await store.append([row(), row()]);
    await store.append([row()]);
    const rows = await store.listFrom(10, 0);
    expect(rows.map(({ id }) => id)).to.deep.equal([1, 2, 3]);
    expect(await store.head()).to.deep.equal({ id: 3, hash: rows[2]?.hash });
  });

  it("makes one chain of what many write at once, also through another process", async () => {
    const stores = [store, await again()];
    const calls = Array.from({ length: 40 }, (_, i) =>
      stores[i % 2]?.append([row({ resource: `a${i}` }), row({ resource: `b${i}` })]),
    );
    await Promise.all(calls);
    const verdict = await verifyAudit(store, "", new AbortController().signal);
    expect(verdict).to.include({ intact: true, rows: 80, brokenId: 0, detail: "" });
  });

  it("keeps details, and chains them", async () => {
    const details = ['{"host":"a"}', "", "nul \0 and half \ud800"];
    await store.append(details.map((detail) => row({ detail })));
    const listed = await store.listFrom(10, 0);
    expect(listed.map(({ detail }) => detail)).to.deep.equal([
      ...['{"host":"a"}', "", "nul \u2400 and half \ufffd"],
    ]);
    expect(await verifyAudit(store, "", signal())).to.include({ intact: true, rows: 3 });
    const [first] = listed;
    if (first === undefined) throw new Error("there are rows");
    // Neither another detail nor none fits the hash.
    for (const detail of ["", '{"host":"b"}']) {
      expect(hashOfRow("", { ...first, detail })).to.not.equal(first.hash);
    }
  });

  it("takes each report once, in the order of its lease", async () => {
    const report = (epoch: number, number: number) => ({ source: "job_1", epoch, number });
    const add = (epoch: number, number: number) =>
      store.appendReport(report(epoch, number), [row({ detail: `${epoch}.${number}` })]);
    expect(await add(1, 1)).to.equal(true);
    expect(await add(1, 1)).to.equal(false);
    expect(await add(1, 2)).to.equal(true);
    expect(await add(1, 1)).to.equal(false);
    expect(await add(2, 1)).to.equal(true);
    expect(await add(1, 3)).to.equal(false);
    expect(await store.appendReport({ source: "job_2", epoch: 1, number: 1 }, [])).to.equal(true);
    const listed = await store.listFrom(10, 0);
    expect(listed.map(({ detail }) => detail)).to.deep.equal(["1.1", "1.2", "2.1"]);
  });

  it("takes a report once that comes many times at once, also through another process", async () => {
    const stores = [store, await again()];
    const report = { source: "job_1", epoch: 1, number: 1 };
    const calls = Array.from({ length: 10 }, (_, i) =>
      stores[i % 2]?.appendReport(report, [row()]),
    );
    expect((await Promise.all(calls)).filter(Boolean)).to.have.length(1);
    expect(await verifyAudit(store, "", signal())).to.include({ intact: true, rows: 1 });
  });

  it("gives back what was hashed, whatever the text", async () => {
    const odd = ["nul \0", "half \ud800", "é\u0301", "\r\n\t", "🚀", "'; DROP TABLE audit; --"];
    await store.append(odd.map((text) => row({ actor: text, resource: text })));
    const verdict = await verifyAudit(store, "", new AbortController().signal);
    expect(verdict).to.include({ intact: true, rows: odd.length });
  });
}
