/** What a client refuses to be made of, and the tables that must agree with the server's. */

import { codeOf, DevmeshError, isReason, isRetryable, toConnectError } from "@devmesh/mesh/errors";
import { Code, createDevmesh, DevmeshConfigError, fromConnect } from "@devmesh/sdk";
import { createDevmesh as createNodeDevmesh } from "@devmesh/sdk/node";
import { ErrorReason } from "@devmesh/sdk/raw";
import { expect } from "chai";
import { FakeDevmesh } from "./fake/fake-devmesh.ts";

describe("sdk options", () => {
  for (const baseUrl of ["", "127.0.0.1:8080", "ftp://host", "http://u:p@127.0.0.1", "unix:rel"]) {
    it(`refuses the base URL ${JSON.stringify(baseUrl)}`, () => {
      expect(() => createNodeDevmesh({ baseUrl })).to.throw(DevmeshConfigError);
    });
  }

  for (const host of ["127.0.0.1", "127.9.9.9", "localhost", "a.localhost", "[::1]"]) {
    it(`sends a token over plain HTTP to ${host}`, () => {
      expect(() => createDevmesh({ baseUrl: `http://${host}:1`, token: "t" })).to.not.throw();
    });
  }

  for (const host of [
    "devmesh.example",
    "10.0.0.1",
    "127.0.0.1.example",
    "[::2]",
    "localhost.example",
  ]) {
    it(`refuses to send a token over plain HTTP to ${host}`, () => {
      const options = { baseUrl: `http://${host}`, token: "t" };
      expect(() => createDevmesh(options)).to.throw(DevmeshConfigError, "unencrypted");
      expect(() => createDevmesh({ ...options, insecure: true })).to.not.throw();
      expect(() => createDevmesh({ ...options, baseUrl: `https://${host}` })).to.not.throw();
    });
  }

  it("asks a token function before each call, and guards its answer too", async () => {
    const fake = new FakeDevmesh();
    const server = await fake.listen();
    const answers = [undefined, "owner-secret"];
    const devmesh = createDevmesh({ baseUrl: server.url, token: () => answers.shift() });
    expect(await devmesh.agents.list().catch((e: unknown) => e)).to.include({
      reason: "UNAUTHENTICATED",
    });
    expect(await devmesh.agents.list()).to.have.length(1);
    await server.close();
    const far = createDevmesh({ baseUrl: "http://far.example", token: () => "t" });
    expect(String(await far.agents.list().catch((e: unknown) => e))).to.include("unencrypted");
  });
});

describe("sdk errors", () => {
  const reasons = Object.keys(ErrorReason).filter(isReason);

  it("knows every reason of the contract", () => {
    expect(reasons).to.have.length(
      Object.keys(ErrorReason).filter((k) => !/^\d/.test(k)).length - 1,
    );
  });

  for (const reason of reasons) {
    it(`maps ${reason} as the server does`, () => {
      const wire = toConnectError(new DevmeshError(reason, "text", { metadata: { a: "b" } }));
      const error = fromConnect(wire);
      expect(error).to.include({
        reason,
        code: codeOf(reason),
        message: "text",
        retryable: isRetryable(reason),
        fromServer: true,
      });
      expect(error.metadata).to.deep.equal({ a: "b" });
    });
  }

  it("maps what is not from the server", () => {
    const cut = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
    expect(fromConnect(cut)).to.include({ reason: "UNAVAILABLE", code: Code.Unavailable });
    expect(fromConnect(new TypeError("fetch failed"))).to.include({ reason: "UNAVAILABLE" });
    expect(fromConnect(new Error("?"))).to.include({ reason: "INTERNAL", fromServer: false });
  });
});
