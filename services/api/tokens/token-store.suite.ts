/** What every token store holds to. */
import { expect } from "chai";
import { reasonOf } from "../jobs/job-store.suite.bed.ts";
import type { TokenRecord, TokenStore } from "./token-store.ts";

const startMs = 1_700_000_000_123;

function token(more: Partial<TokenRecord> = {}): TokenRecord {
  return {
    ...{ id: "tok_1", name: "laptop", secretHash: "hash_1", scopes: ["read:jobs", "write:jobs"] },
    ...{ createdAtMs: startMs, expiresAtMs: undefined, revokedAtMs: undefined, jobId: "" },
    ...more,
  };
}

/** Declares the tests. Each starts with the empty store that `fresh` gives. */
export function tokenStoreSuite({ fresh }: { fresh(): Promise<TokenStore> }): void {
  let store: TokenStore;
  beforeEach(async () => {
    store = await fresh();
  });

  it("keeps a token to the letter", async () => {
    const rows = [
      token(),
      token({
        id: "tok_2",
        secretHash: "hash_2",
        name: "ü '\"",
        scopes: [],
        expiresAtMs: startMs + 1,
      }),
      token({ id: "tok_3", secretHash: "hash_3", revokedAtMs: startMs + 2, jobId: "job_1" }),
    ];
    for (const row of rows) await store.insert(row);
    for (const row of rows) {
      expect(await store.get(row.id)).to.deep.equal(row);
      expect(await store.findByHash(row.secretHash)).to.deep.equal(row);
    }
  });

  it("knows no other token", async () => {
    await store.insert(token());
    expect(await store.get("tok_2")).to.equal(undefined);
    expect(await store.findByHash("hash_2")).to.equal(undefined);
    expect(await store.get("tok\0")).to.equal(undefined);
  });

  it("refuses an id or a hash that is taken", async () => {
    await store.insert(token());
    expect(await reasonOf(store.insert(token({ secretHash: "hash_2" })))).to.equal(
      "ALREADY_EXISTS",
    );
    expect(await reasonOf(store.insert(token({ id: "tok_2" })))).to.equal("ALREADY_EXISTS");
    expect(await store.list()).to.deep.equal([token()]);
  });

  it("lists tokens that belong to no job, newest first", async () => {
    await store.insert(token({ id: "a", secretHash: "1", createdAtMs: startMs + 1 }));
    await store.insert(token({ id: "b", secretHash: "2", createdAtMs: startMs + 2 }));
    await store.insert(token({ id: "c", secretHash: "3", createdAtMs: startMs, revokedAtMs: 5 }));
    await store.insert(token({ id: "d", secretHash: "4", jobId: "job_1" }));
    expect((await store.list()).map(({ id }) => id)).to.deep.equal(["b", "a", "c"]);
  });

  it("revokes once", async () => {
    await store.insert(token());
    const revoked = token({ revokedAtMs: startMs + 5 });
    expect(await store.revoke("tok_1", startMs + 5)).to.deep.equal(revoked);
    expect(await store.revoke("tok_1", startMs + 9)).to.deep.equal(revoked);
    expect(await store.findByHash("hash_1")).to.deep.equal(revoked);
    expect(await store.revoke("tok_2", startMs)).to.equal(undefined);
  });

  it("deletes the tokens of a job, and no other", async () => {
    await store.insert(token());
    await store.insert(token({ id: "tok_2", secretHash: "hash_2", jobId: "job_1" }));
    await store.insert(token({ id: "tok_3", secretHash: "hash_3", jobId: "job_2" }));
    await store.deleteOfJob("job_1");
    await store.deleteOfJob("");
    expect(await store.get("tok_2")).to.equal(undefined);
    expect(await store.get("tok_1")).not.to.equal(undefined);
    expect(await store.get("tok_3")).not.to.equal(undefined);
  });

  it("lets a console link be used once", async () => {
    await store.insertLink("link_1", startMs + 10);
    await store.insertLink("link_2", startMs + 10);
    const uses = Array.from({ length: 10 }, () => store.useLink("link_1", startMs));
    expect((await Promise.all(uses)).filter(Boolean)).to.have.length(1);
    expect(await store.useLink("link_1", startMs)).to.equal(false);
    expect(await store.useLink("link_2", startMs + 9)).to.equal(true);
  });

  it("refuses a console link that is past its end or unknown", async () => {
    await store.insertLink("link_1", startMs + 10);
    expect(await store.useLink("link_2", startMs)).to.equal(false);
    expect(await store.useLink("link_1", startMs + 11)).to.equal(false);
    expect(await store.useLink("link_1", startMs)).to.equal(false);
  });
}
