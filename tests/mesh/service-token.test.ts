import { toDevmeshError } from "@devmesh/mesh/errors";
import { serviceTokenAuthenticator } from "@devmesh/mesh/interceptors";
import { expect } from "chai";

describe("serviceTokenAuthenticator", () => {
  const peer = { address: "", host: "", origin: "", proxied: false };
  const ask = (authorization?: string) => {
    const header = new Headers(authorization === undefined ? {} : { authorization });
    return async () => await serviceTokenAuthenticator("s3cret").authenticate(header, peer);
  };

  it("trusts the one secret with every scope, and makes who shows none anonymous", async () => {
    const service = await ask("Bearer s3cret")();
    expect(service.id).to.equal("service");
    for (const scope of ["run:jobs", "any:thing"]) expect(service.scopes.has(scope)).to.equal(true);
    expect((await ask()()).id).to.equal("anonymous");
  });

  it("refuses anything else alike, whatever its length", async () => {
    const wrong = ["", "Bearer", "s3cret", "Basic s3cret", "Bearer s3cre\u00b5", "Bearer s3cretx"];
    const texts = new Set<string>();
    for (const shown of [...wrong, `Bearer ${"x".repeat(10_000)}`]) {
      const error = toDevmeshError(await ask(shown)().catch((e: unknown) => e));
      expect(error.reason, shown).to.equal("UNAUTHENTICATED");
      texts.add(error.message);
    }
    expect(texts.size).to.equal(1);
  });
});
