/** What every token store holds to. */
import { expect } from "chai";
import { reasonOf } from "../jobs/job-store.suite.bed.ts";
import type { TokenRecord, TokenStore } from "./token-store.ts";

const startMs = 1_700_000_000_123;

function token(more: Partial<TokenRecord> = {}): TokenRecord {
  return {
    ...{ id: "tok_1", name: "laptop", secretHash: "hash_1", scopes: ["read:jobs", "write:jobs"] },
    ...{ createdAtMs: startMs, expiresAtMs: undefined, revokedAtMs: undefined, jobId: "" },
    ...{ owner: "ann", oldSecretHash: undefined, oldSecretEndsAtMs: undefined },
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
      token({
        ...{ id: "tok_4", secretHash: "hash_4", owner: "bob", scopes: ["*"] },
        ...{ oldSecretHash: "hash_0", oldSecretEndsAtMs: startMs + 3 },
      }),
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

  it("lists one owner's tokens", async () => {
    await store.insert(token({ id: "a", secretHash: "1", owner: "ann" }));
    await store.insert(token({ id: "b", secretHash: "2", owner: "bob" }));
    await store.insert(token({ id: "c", secretHash: "3", owner: "ann", jobId: "job_1" }));
    const ids = async (owner?: string) => (await store.list(owner)).map(({ id }) => id);
    expect(await ids("ann")).to.deep.equal(["a"]);
    expect(await ids("bob")).to.deep.equal(["b"]);
    expect(await ids("")).to.deep.equal([]);
    expect(await ids()).to.deep.equal(["b", "a"]);
  });

  it("finds many at once, each once, and no other", async () => {
    const rows = ["a", "b", "c"].map((id) => token({ id, secretHash: id, jobId: id }));
    for (const row of rows) await store.insert(row);
    const found = await store.getMany(["c", "a", "a", "x", '"', "nul \0"]);
    const sorted = found.toSorted((x, y) => (x.id < y.id ? -1 : 1));
    expect(sorted).to.deep.equal([rows[0], rows[2]]);
    expect(await store.getMany([])).to.deep.equal([]);
  });

  const rotation = { secretHash: "new", oldSecretEndsAtMs: startMs + 60, atMs: startMs };

  it("finds a rotated token by both its secrets", async () => {
    await store.insert(token());
    const rotated = token({
      ...{ secretHash: "new", oldSecretHash: "hash_1", oldSecretEndsAtMs: startMs + 60 },
    });
    expect(await store.rotate("tok_1", rotation)).to.deep.equal(rotated);
    expect(await store.get("tok_1")).to.deep.equal(rotated);
    expect(await store.findByHash("new")).to.deep.equal(rotated);
    expect(await store.findByHash("hash_1")).to.deep.equal(rotated);
  });

  it("forgets the secret before the old one when it is rotated again", async () => {
    await store.insert(token());
    await store.rotate("tok_1", rotation);
    const again = { ...rotation, secretHash: "newer" };
    expect(await store.rotate("tok_1", again)).to.include({ oldSecretHash: "new" });
    expect(await store.findByHash("hash_1")).to.equal(undefined);
    expect(await store.findByHash("new")).to.include({ id: "tok_1" });
  });

  it("rotates no token that has ended, belongs to a job, or is not there", async () => {
    const rows = [
      token({ id: "gone", secretHash: "1", revokedAtMs: startMs - 1 }),
      token({ id: "late", secretHash: "2", expiresAtMs: startMs }),
      token({ id: "job", secretHash: "3", jobId: "job_1" }),
      token({ id: "soon", secretHash: "4", expiresAtMs: startMs + 1 }),
    ];
    for (const row of rows) await store.insert(row);
    for (const id of ["gone", "late", "job", "none"]) {
      expect(await store.rotate(id, rotation), id).to.equal(undefined);
    }
    expect(await store.rotate("soon", rotation)).to.include({ secretHash: "new" });
  });

  it("refuses a new secret that is taken", async () => {
    await store.insert(token());
    await store.insert(token({ id: "tok_2", secretHash: "hash_2" }));
    const taken = store.rotate("tok_1", { ...rotation, secretHash: "hash_2" });
    expect(await reasonOf(taken)).to.equal("ALREADY_EXISTS");
    expect(await store.get("tok_1")).to.deep.equal(token());
  });

  it("changes whose a token is and what it may do", async () => {
    await store.insert(token());
    await store.insert(token({ id: "tok_2", secretHash: "hash_2" }));
    await store.grant("tok_1", { owner: "owner", scopes: ["*"] });
    expect(await store.get("tok_1")).to.deep.equal(token({ owner: "owner", scopes: ["*"] }));
    expect(await store.get("tok_2")).to.include({ owner: "ann" });
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

  const grant = { owner: "ann", scopes: ["read:jobs", "*"] };

  it("lets a console link be used once", async () => {
    await store.insertLink("link_1", startMs + 10, grant);
    await store.insertLink("link_2", startMs + 10, { owner: "bob", scopes: [] });
    const uses = Array.from({ length: 10 }, () => store.useLink("link_1", startMs));
    const worth = (await Promise.all(uses)).filter((found) => found !== undefined);
    expect(worth).to.deep.equal([grant]);
    expect(await store.useLink("link_1", startMs)).to.equal(undefined);
    expect(await store.useLink("link_2", startMs + 9)).to.deep.equal({ owner: "bob", scopes: [] });
  });

  it("refuses a console link that is past its end or unknown", async () => {
    await store.insertLink("link_1", startMs + 10, grant);
    expect(await store.useLink("link_2", startMs)).to.equal(undefined);
    expect(await store.useLink("link_1", startMs + 11)).to.equal(undefined);
    expect(await store.useLink("link_1", startMs)).to.equal(undefined);
  });
}
