/** What every audit store holds to. */
import { expect } from "chai";
import type { AuditRecord, AuditStore } from "./audit-store.ts";

function row(more: Partial<AuditRecord> = {}): Omit<AuditRecord, "id"> {
  return {
    ...{ timeMs: 1_700_000_000_123, actor: "tok_1", action: "job.create", resource: "job_1" },
    ...{ outcome: "ok", correlationId: "req_1" },
    ...more,
  };
}

/** Declares the tests. Each starts with the empty store that `fresh` gives. */
export function auditStoreSuite({ fresh }: { fresh(): Promise<AuditStore> }): void {
  let store: AuditStore;
  beforeEach(async () => {
    store = await fresh();
  });

  it("lists rows to the letter, newest first, with rising ids", async () => {
    const rows = [row(), row({ resource: "", actor: "ü '\"" }), row({ outcome: "NOT_FOUND" })];
    await store.append(rows.slice(0, 2));
    await store.append(rows.slice(2));
    const listed = await store.list(10);
    expect(listed.map(({ id: _, ...rest }) => rest)).to.deep.equal(rows.toReversed());
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
}
