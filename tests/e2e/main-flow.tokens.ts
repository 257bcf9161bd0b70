/** Tokens: what they may do, and how they end. */
import { inspect } from "node:util";
import { expect } from "chai";
import { createDevmesh } from "../../sdk/ts/src/node.ts";
import { auditRows, refusal } from "./main-flow.jobs.ts";
import type { GetPlatform } from "./main-flow.ts";
import { until } from "./wait.ts";

/** The tests. */
export function tokenTests(get: GetPlatform): void {
  it("holds a token to its scopes and ends it at once", async () => {
    const { devmesh, url } = get();
    const { token, secret } = await devmesh.tokens.create({ name: "r", scopes: ["read:jobs"] });
    const reader = createDevmesh({ baseUrl: url, token: secret });
    try {
      await reader.jobs.list().page();
      const denied = await refusal(reader.jobs.create({ command: ["true"] }));
      expect(denied).to.include({ reason: "SCOPE_MISSING" });
      expect(denied.metadata).to.deep.equal({ scope: "write:jobs" });
      const listed = await devmesh.tokens.list();
      expect(listed.map(({ id }) => id)).to.include(token.id);
      expect(inspect(listed, { depth: null })).to.not.include(secret);

      await devmesh.tokens.revoke(token.id);
      const after = await refusal(reader.jobs.get("job_x"));
      expect(after.reason).to.equal("UNAUTHENTICATED");
    } finally {
      reader.close();
    }
    await until("the refusal is audited", async () => {
      const rows = await auditRows(get());
      return rows.some(
        ({ actor, action, outcome }) =>
          actor === token.id && action === "job.create" && outcome === "SCOPE_MISSING",
      );
    });
  });

  it("ends a token when its time is over", async () => {
    const { devmesh, url } = get();
    const input = { name: "short", scopes: ["read:self"], ttlMs: 1 };
    const { secret } = await devmesh.tokens.create(input);
    const short = createDevmesh({ baseUrl: url, token: secret });
    try {
      const ended = await until("the token is refused", async () => {
        const call = short.tokens.whoami();
        return call.then(
          () => undefined,
          () => refusal(short.tokens.whoami()),
        );
      });
      expect(ended.reason).to.equal("UNAUTHENTICATED");
    } finally {
      short.close();
    }
  });

  it("grants no scope that the creator does not hold", async () => {
    const { devmesh, url } = get();
    const scopes = ["write:tokens", "read:jobs"];
    const { secret } = await devmesh.tokens.create({ name: "minter", scopes });
    const minter = createDevmesh({ baseUrl: url, token: secret });
    try {
      await minter.tokens.create({ name: "less", scopes: ["read:jobs"] });
      const more = await refusal(minter.tokens.create({ name: "x", scopes: ["write:jobs"] }));
      expect(more.reason).to.equal("SCOPE_MISSING");
      const unknown = await refusal(devmesh.tokens.create({ name: "x", scopes: ["write:moon"] }));
      expect(unknown.reason).to.equal("INVALID_FIELD");
      expect(unknown.metadata.field).to.equal("scopes");
    } finally {
      minter.close();
    }
  });
}
