/** Who is let in, as whom, and for how long. */
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Peer, Principal } from "@devmesh/mesh/context";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { serviceTokenAuthenticator } from "@devmesh/mesh/interceptors";
import { silentLogger } from "@devmesh/mesh/log";
import { CountedIds, TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { apiAuthenticator } from "../../services/api/tokens/api-authenticator.ts";
import { ensureOwnerToken } from "../../services/api/tokens/owner-token.ts";
import { MemoryTokenStore } from "../../services/api/tokens/token-store.memory.ts";
import { TokenWatch } from "../../services/api/tokens/token-watch.ts";
import { Tokens } from "../../services/api/tokens/tokens.ts";
import { reasonOf } from "./bed.ts";

const scopes = ["admin:owners", "read:jobs", "write:jobs", "write:tokens", "llm:invoke"];

class TestTokens extends Tokens {
  readonly clock: TestClock;
  readonly memory: MemoryTokenStore;
  readonly running: Set<string>;

  constructor() {
    const clock = new TestClock();
    const running = new Set<string>();
    const isRunning = async (jobId: string) => running.has(jobId);
    const store = new MemoryTokenStore();
    super({ store, clock, ids: new CountedIds(), scopes, isRunning });
    this.clock = clock;
    this.memory = store;
    this.running = running;
  }
}

describe("tokens", () => {
  let tokens: TestTokens;
  beforeEach(() => {
    tokens = new TestTokens();
  });
  const holder = (...held: string[]) => {
    return { id: "tok_0", owner: "ann", scopes: new Set(held), jobId: "" };
  };
  const job = { id: "job_1", owner: "ann" };

  it("let their holder in with their scopes, until they are revoked", async () => {
    const asked = { name: "ci", scopes: ["read:jobs"], ttlMs: undefined };
    const { token, secret } = await tokens.create(holder(...scopes), asked);
    const principal = await tokens.authenticate(secret);
    expect([principal.id, ...principal.scopes]).to.deep.equal([token.id, "read:jobs"]);
    await tokens.revoke(token.id);
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
  });

  it("end with their time, to the millisecond", async () => {
    const asked = { name: "ci", scopes: ["read:jobs"], ttlMs: 1_000 };
    const { secret } = await tokens.create(holder(...scopes), asked);
    tokens.clock.advance(999);
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("ok");
    tokens.clock.advance(1);
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
  });

  it("grant no scope that their maker lacks, and none that there is not", async () => {
    const create = (...asked: string[]) =>
      reasonOf(tokens.create(holder("read:jobs"), { name: "x", scopes: asked, ttlMs: undefined }));
    expect(await create("write:jobs")).to.equal("SCOPE_MISSING");
    expect(await create("no:such")).to.equal("INVALID_FIELD");
    expect(await create("read:jobs")).to.equal("ok");
  });

  it("belong to their maker's owner; another's takes admin:owners", async () => {
    const asked = { name: "ci", scopes: ["read:jobs"], ttlMs: undefined };
    const { token } = await tokens.create(holder("read:jobs"), asked);
    expect(token.owner).to.equal("ann");
    const own = await tokens.create(holder("read:jobs"), { ...asked, owner: "ann" });
    expect(own.token.owner).to.equal("ann");
    const other = { ...asked, owner: "bob" };
    expect(await reasonOf(tokens.create(holder("read:jobs"), other))).to.equal("SCOPE_MISSING");
    const admin = holder("read:jobs", "admin:owners");
    const { secret } = await tokens.create(admin, other);
    expect((await tokens.authenticate(secret)).owner).to.equal("bob");
  });

  for (const [what, name] of [
    ["a control character", "ci\u0007"],
    ["a line break", "ci\nroot"],
    ["a direction mark", "ci\u202eroot"],
    ["a joiner", "c\u200di"],
    ["a zero-width space", "ci\u200b"],
    ["a byte order mark", "\ufeffci"],
    ["half a character", "ci\ud800"],
    ["a paragraph separator", "ci\u2029"],
    ["NUL", "ci\0"],
    ["only space", " \u00a0 "],
    ["nothing", ""],
  ]) {
    it(`have no name with ${what}`, async () => {
      const asked = { name: name ?? "", scopes: ["read:jobs"], ttlMs: undefined };
      const error = await tokens.create(holder("read:jobs"), asked).catch(toDevmeshError);
      expect(error).to.include({ reason: "INVALID_FIELD" });
      expect(error).to.have.nested.property("metadata.field", "name");
    });
  }

  it("have names in any script", async () => {
    for (const name of ["Überwachung", "監視", "נטור", "CI 🚀", "o'neil"]) {
      const asked = { name, scopes: ["read:jobs"], ttlMs: undefined };
      expect((await tokens.create(holder("read:jobs"), asked)).token.name).to.equal(name);
    }
  });

  it("are rotated: the old secret works until its grace is over, and not a millisecond on", async () => {
    const asked = { name: "ci", scopes: ["read:jobs"], ttlMs: undefined };
    const first = await tokens.create(holder("read:jobs"), asked);
    const second = await tokens.rotate(first.token.id, 1_000);
    expect(second.token.id).to.equal(first.token.id);
    expect((await tokens.authenticate(second.secret)).id).to.equal(first.token.id);
    tokens.clock.advance(999);
    expect(await reasonOf(tokens.authenticate(first.secret))).to.equal("ok");
    tokens.clock.advance(1);
    expect(await reasonOf(tokens.authenticate(first.secret))).to.equal("UNAUTHENTICATED");
    expect(await reasonOf(tokens.authenticate(second.secret))).to.equal("ok");
  });

  it("rotated without grace, or revoked within it, do not work by the old secret", async () => {
    const asked = { name: "ci", scopes: ["read:jobs"], ttlMs: undefined };
    const first = await tokens.create(holder("read:jobs"), asked);
    const second = await tokens.rotate(first.token.id, 0);
    expect(await reasonOf(tokens.authenticate(first.secret))).to.equal("UNAUTHENTICATED");
    const third = await tokens.rotate(first.token.id, 60_000);
    await tokens.revoke(first.token.id);
    for (const { secret } of [first, second, third]) {
      expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
    }
  });

  it("are not rotated when they have ended, belong to a job, or are not there", async () => {
    const asked = { name: "ci", scopes: ["read:jobs"], ttlMs: 1_000 };
    const expired = await tokens.create(holder("read:jobs"), asked);
    const revoked = await tokens.create(holder("read:jobs"), asked);
    await tokens.revoke(revoked.token.id);
    tokens.clock.advance(1_000);
    const ofJob = await tokens.createForJob(job);
    const rotate = (id: string) => reasonOf(tokens.rotate(id, 0));
    expect(await rotate(expired.token.id)).to.equal("WRONG_STATE");
    expect(await rotate(revoked.token.id)).to.equal("WRONG_STATE");
    expect(await rotate(ofJob.token.id)).to.equal("NOT_FOUND");
    expect(await rotate("tok_none")).to.equal("NOT_FOUND");
  });

  it("of the owner hold scopes that a later version adds", async () => {
    const { secret } = await tokens.createOwner();
    const later = new Tokens({
      ...{ store: tokens.memory, clock: tokens.clock, ids: new CountedIds() },
      ...{ scopes: [...scopes, "write:moon"], isRunning: async () => false },
    });
    const principal = await later.authenticate(secret);
    expect([...principal.scopes]).to.include.members([...scopes, "write:moon"]);
    expect(principal.owner).to.equal("owner");
  });

  it("of consoles may do what the maker of the link may, and no more", async () => {
    const { secret: owner } = await tokens.createOwner();
    const rows: [Principal, string[], string][] = [
      [holder("read:jobs", "write:tokens"), ["read:jobs", "write:tokens"], "ann"],
      [await tokens.authenticate(owner), ["*"], "owner"],
    ];
    for (const [creator, held, whose] of rows) {
      const link = await tokens.createLink(creator);
      const { token } = await tokens.redeemLink(link.secret);
      expect(token.scopes).to.deep.equal(held);
      expect(token.owner).to.equal(whose);
    }
  });

  it("of a job act for the job's owner", async () => {
    tokens.running.add("job_1");
    const { secret } = await tokens.createForJob(job);
    expect((await tokens.authenticate(secret)).owner).to.equal("ann");
  });

  it("of a job work while it runs, and not while it waits or after", async () => {
    const { secret } = await tokens.createForJob(job);
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
    tokens.running.add("job_1");
    expect((await tokens.authenticate(secret)).jobId).to.equal("job_1");
    tokens.running.delete("job_1");
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
  });

  it("of a job end with the next lease", async () => {
    tokens.running.add("job_1");
    const first = await tokens.createForJob(job);
    const second = await tokens.createForJob(job);
    expect(await reasonOf(tokens.authenticate(first.secret))).to.equal("UNAUTHENTICATED");
    expect(await reasonOf(tokens.authenticate(second.secret))).to.equal("ok");
  });

  it("come from a console link once, within its time", async () => {
    const first = await tokens.createLink();
    const { secret } = await tokens.redeemLink(first.secret);
    expect([...(await tokens.authenticate(secret)).scopes]).to.include.members(scopes);
    expect(await reasonOf(tokens.redeemLink(first.secret))).to.equal("UNAUTHENTICATED");
    const second = await tokens.createLink();
    tokens.clock.advance(5 * 60 * 1000);
    expect(await reasonOf(tokens.redeemLink(second.secret))).to.equal("UNAUTHENTICATED");
  });

  it("come from a link once, however many redeem it at the same time", async () => {
    const { secret } = await tokens.createLink();
    const all = await Promise.all(
      Array.from({ length: 10 }, () => reasonOf(tokens.redeemLink(secret))),
    );
    expect(all.filter((reason) => reason === "ok")).to.have.length(1);
  });

  it("do not take a link's secret for a token", async () => {
    const { secret } = await tokens.createLink();
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
  });
});

describe("owner token", () => {
  let folder: string;
  let path: string;
  let tokens: TestTokens;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dm-owner-"));
    path = join(folder, "data", "owner.token");
    tokens = new TestTokens();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("is made once, for its user's eyes only, and nothing else is left", async () => {
    const secret = await ensureOwnerToken(tokens, path);
    expect(await ensureOwnerToken(tokens, path)).to.equal(secret);
    expect(readFileSync(path, "utf8")).to.equal(`${secret}\n`);
    expect(statSync(path).mode & 0o777).to.equal(0o600);
    expect(statSync(join(folder, "data")).mode & 0o777).to.equal(0o700);
    expect(readdirSync(join(folder, "data"))).to.deep.equal(["owner.token"]);
    expect(await tokens.list()).to.have.length(1);
  });

  it("is made known to a store that does not have it", async () => {
    const secret = await ensureOwnerToken(tokens, path);
    const other = new TestTokens();
    expect(await ensureOwnerToken(other, path)).to.equal(secret);
    expect(await reasonOf(other.authenticate(secret))).to.equal("ok");
  });

  it("is one for backends that start at the same time", async () => {
    const starts = Array.from({ length: 4 }, () => ensureOwnerToken(tokens, path));
    expect(new Set(await Promise.all(starts)).size).to.equal(1);
    expect(await tokens.list()).to.have.length(1);
  });

  it("is replaced when it was revoked", async () => {
    const secret = await ensureOwnerToken(tokens, path);
    for (const { id } of await tokens.list()) await tokens.revoke(id);
    const fresh = await ensureOwnerToken(tokens, path);
    expect(fresh).to.not.equal(secret);
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
    expect(await reasonOf(tokens.authenticate(fresh))).to.equal("ok");
  });

  it("is replaced when it was rotated away, however long ago", async () => {
    const secret = await ensureOwnerToken(tokens, path);
    const [owner] = await tokens.list();
    for (const graceMs of [0, 0]) await tokens.rotate(owner?.id ?? "", graceMs);
    expect(await tokens.stateOf(secret)).to.equal("unknown");
    const fresh = await ensureOwnerToken(tokens, path);
    expect(fresh).to.not.equal(secret);
    expect(await reasonOf(tokens.authenticate(secret))).to.equal("UNAUTHENTICATED");
    expect(await reasonOf(tokens.authenticate(fresh))).to.equal("ok");
  });

  it("of an older version gets every scope at the next start", async () => {
    const secret = await ensureOwnerToken(tokens, path);
    const [owner] = await tokens.list();
    await tokens.memory.grant(owner?.id ?? "", { owner: "tok_old", scopes: ["read:jobs"] });
    expect(await ensureOwnerToken(tokens, path)).to.equal(secret);
    const principal = await tokens.authenticate(secret);
    expect(principal.owner).to.equal("owner");
    expect([...principal.scopes]).to.include.members(scopes);
  });

  it("closes a file that was open to others", async () => {
    await ensureOwnerToken(tokens, path);
    chmodSync(path, 0o644);
    await ensureOwnerToken(tokens, path);
    expect(statSync(path).mode & 0o777).to.equal(0o600);
  });

  it("does not overwrite a file that holds something else", async () => {
    await ensureOwnerToken(tokens, path);
    writeFileSync(path, "my shopping list");
    expect(await reasonOf(ensureOwnerToken(tokens, path))).to.equal("CONFIG_INVALID");
    expect(readFileSync(path, "utf8")).to.equal("my shopping list");
  });
});

describe("authenticator", () => {
  const local: Peer = { address: "127.0.0.1", host: "localhost:8080", origin: "", proxied: false };
  const secret = "the-services-secret";
  let tokens: TestTokens;
  beforeEach(() => {
    tokens = new TestTokens();
  });

  /** Who a call is taken for, or why it is refused. */
  async function who(
    peer: Partial<Peer>,
    options: { bearer?: string; header?: string; devBypass?: boolean; serviceToken?: boolean } = {},
  ): Promise<string> {
    const { bearer, devBypass = false, serviceToken = true } = options;
    const authenticator = apiAuthenticator({
      tokens,
      watch: new TokenWatch({ tokens, clock: tokens.clock, logger: silentLogger() }),
      serviceToken: serviceToken ? serviceTokenAuthenticator(secret) : undefined,
      devBypass,
      corsOrigins: ["http://localhost:3000", "*"],
    });
    const shown = options.header ?? (bearer === undefined ? undefined : `Bearer ${bearer}`);
    const header = new Headers(shown === undefined ? {} : { authorization: shown });
    const found = (async () => authenticator.authenticate(header, { ...local, ...peer }))();
    const reason = await reasonOf(found);
    return reason === "ok" ? (await found).id : reason;
  }

  it("takes a token for its holder, and the shared secret for a service", async () => {
    const { token, secret: owner } = await tokens.createOwner();
    expect(await who({}, { bearer: owner })).to.equal(token.id);
    expect(await who({}, { bearer: secret })).to.equal("service");
  });

  it("refuses what is shown and not good, also where it would need nothing", async () => {
    const devBypass = true;
    for (const bearer of ["dm_wrong", "wrong", secret.slice(1), `${secret}x`, "dml_x"]) {
      expect(await who({}, { bearer, devBypass }), bearer).to.equal("UNAUTHENTICATED");
    }
    for (const header of ["", "Basic abc", "Bearer", "Bearer a b"]) {
      expect(await who({}, { header, devBypass }), header).to.equal("UNAUTHENTICATED");
    }
    expect(await who({}, { bearer: secret, serviceToken: false })).to.equal("UNAUTHENTICATED");
  });

  it("takes a caller that shows nothing for nobody", async () => {
    expect(await who({})).to.equal("anonymous");
  });

  describe("with the dev bypass", () => {
    const rows: [string, Partial<Peer>, string][] = [
      ["a call on this machine", {}, "dev"],
      ["IPv6", { address: "::1", host: "[::1]:8080" }, "dev"],
      ["IPv4 in IPv6", { address: "::ffff:127.0.0.1" }, "dev"],
      ["no port", { host: "localhost" }, "dev"],
      ["another case", { host: "LocalHost:1" }, "dev"],
      ["its own page", { origin: "http://localhost:8080" }, "dev"],
      ["an allowed page", { origin: "http://localhost:3000" }, "dev"],
      ["another machine", { address: "192.168.0.7" }, "anonymous"],
      [
        "another machine that names itself",
        { address: "192.168.0.7", host: "localhost" },
        "anonymous",
      ],
      ["a sandbox, from its door", { address: "127.0.0.2" }, "anonymous"],
      ["a proxy", { proxied: true }, "anonymous"],
      ["a call within the process", { address: "in-process", host: "" }, "anonymous"],
      ["a name that was bound anew", { host: "evil.example:8080" }, "ORIGIN_REFUSED"],
      ["a name that looks like it", { host: "localhost.evil.example" }, "ORIGIN_REFUSED"],
      ["a name with a user", { host: "localhost@evil.example" }, "ORIGIN_REFUSED"],
      ["no name", { host: "" }, "ORIGIN_REFUSED"],
      ["a foreign page", { origin: "http://evil.example" }, "ORIGIN_REFUSED"],
      ["a page of another port", { origin: "http://localhost:5000" }, "ORIGIN_REFUSED"],
      ["its own page by TLS", { origin: "https://localhost:8080" }, "ORIGIN_REFUSED"],
      ["a page without an origin", { origin: "null" }, "ORIGIN_REFUSED"],
    ];
    for (const [what, peer, expected] of rows) {
      it(`takes ${what} for ${expected}`, async () => {
        expect(await who(peer, { devBypass: true })).to.equal(expected);
      });
    }
  });
});
