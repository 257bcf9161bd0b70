import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import { checkDocument, collectionOf } from "../../services/mcp/documents/document.ts";
import { input } from "./plane.ts";

describe("document", () => {
  const reasonOf = (document: Parameters<typeof input>[0]) => {
    try {
      checkDocument(input(document));
      return "none";
    } catch (error: unknown) {
      return error instanceof DevmeshError ? error.reason : String(error);
    }
  };

  it("takes clean relative sources and stable names", () => {
    for (const source of [
      "a.ts",
      "src/a b/ü.ts",
      ".github/x.yml",
      "job:job_1/log",
      "..a/b..",
      "@scope/x",
    ]) {
      expect(reasonOf({ source, text: "x" }), source).to.equal("none");
    }
  });

  it("refuses sources that could be read as another place", () => {
    const bad = [
      "",
      "/etc/passwd",
      "../a",
      "a/../b",
      "a/..",
      "./a",
      "a//b",
      "a/",
      "..\\a",
      "a\\..\\b",
      "C:/x",
      "c:",
      "a\0b",
      "a\nb",
      "\ud800",
      "x".repeat(1025),
    ];
    for (const source of bad) {
      expect(reasonOf({ source, text: "x" }), JSON.stringify(source)).to.equal("INVALID_FIELD");
    }
  });

  it("refuses any source with a `..` segment", () => {
    const part = fc.constantFrom("a", "b.ts", "..", "x y");
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        const expected = parts.includes("..") ? "INVALID_FIELD" : "none";
        expect(reasonOf({ source: parts.join("/"), text: "x" })).to.equal(expected);
      }),
    );
  });

  it("refuses binary text and text that is too large", () => {
    expect(reasonOf({ source: "a", text: "ELF\0" })).to.equal("INVALID_FIELD");
    expect(reasonOf({ source: "a", text: "\u0001\u0002ab" })).to.equal("INVALID_FIELD");
    expect(reasonOf({ source: "a", text: "\ud800" })).to.equal("INVALID_FIELD");
    expect(reasonOf({ source: "a", text: "\u001b[31mred\u001b[0m and plain\t\r\n" })).to.equal(
      "none",
    );
    expect(reasonOf({ source: "a", text: "ü".repeat(2 * 1024 * 1024) })).to.equal("none");
    expect(reasonOf({ source: "a", text: "ü".repeat(2 * 1024 * 1024 + 1) })).to.equal("TOO_LARGE");
  });

  it("refuses metadata out of bounds and unknown collections", () => {
    const many = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, "v"]));
    for (const metadata of [
      many,
      { "": "v" },
      { ["k".repeat(64)]: "v" },
      { k: "v".repeat(1025) },
      { k: "\0" },
    ]) {
      expect(reasonOf({ source: "a", text: "x", metadata })).to.equal("INVALID_FIELD");
    }
    expect(reasonOf({ source: "a", text: "x", collection: "secrets" })).to.equal("INVALID_FIELD");
  });

  it("guesses the collection by the source's ending", () => {
    const guesses = {
      "a/b.ts": "code",
      Dockerfile: "code",
      "x.proto": "code",
      "a.md": "notes",
      README: "notes",
      "job.log": "runs",
    };
    for (const [source, collection] of Object.entries(guesses)) {
      expect(collectionOf(source), source).to.equal(collection);
    }
  });

  it("has a hash of everything that decides what is stored", () => {
    const hash = (more: object) =>
      checkDocument(input({ source: "a", text: "x", ...more })).contentHash;
    const base = hash({ metadata: { a: "1", b: "2" } });
    expect(hash({ metadata: { b: "2", a: "1" } })).to.equal(base);
    expect(hash({ metadata: { a: "1" } })).to.not.equal(base);
    expect(hash({ metadata: { a: "1", b: "2" }, localOnly: true })).to.not.equal(base);
    expect(hash({ metadata: { a: "1", b: "2" }, text: "y" })).to.not.equal(base);
  });
});
