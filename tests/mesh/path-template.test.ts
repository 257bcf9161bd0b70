import { expect } from "chai";
import fc from "fast-check";
import { compilePath } from "../../services/mesh/rest/path-template.ts";

describe("path templates", () => {
  it("match literals, variables and verbs", () => {
    const path = compilePath("/v1/jobs/{id}:cancel");
    expect(path.variables).to.deep.equal(["id"]);
    expect(path.match("/v1/jobs/job_1:cancel")).to.deep.equal({ id: "job_1" });
    for (const other of ["/v1/jobs/job_1", "/v1/jobs/:cancel", "/v1/jobs/a/b:cancel", "/"]) {
      expect(path.match(other), other).to.equal(undefined);
    }
  });

  it("take literals literally", () => {
    expect(compilePath("/a.b").match("/axb")).to.equal(undefined);
    expect(compilePath("/a.b").match("/a.b")).to.deep.equal({});
  });

  it("decode any text that a client encoded", () => {
    const path = compilePath("/v1/{a}/x/{b}");
    const text = fc.string({ minLength: 1, unit: "grapheme" });
    fc.assert(
      fc.property(text, text, (a, b) => {
        const url = `/v1/${encodeURIComponent(a)}/x/${encodeURIComponent(b)}`;
        expect(path.match(url)).to.deep.equal({ a, b });
      }),
    );
  });

  it("leave a broken escape as it is", () => {
    expect(compilePath("/v1/{a}").match("/v1/%zz")).to.deep.equal({ a: "%zz" });
  });

  it("refuse syntax outside the subset", () => {
    for (const source of ["/v1/{a=*}", "/v1/**", "/v1/a{b}"]) {
      expect(() => compilePath(source), source).to.throw("unsupported");
    }
  });
});
