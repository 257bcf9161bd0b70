import { silentLogger } from "@devmesh/mesh/log";
import { expect } from "chai";
import fc from "fast-check";
import { maxChunkChars, type Piece } from "../../services/mcp/chunks/chunk.ts";
import { Chunker } from "../../services/mcp/chunks/chunker.ts";
import { cut } from "../../services/mcp/chunks/cut.ts";
import { indentationSections } from "../../services/mcp/chunks/indentation.ts";
import { markdownSections } from "../../services/mcp/chunks/markdown.ts";

describe("chunker", () => {
  let chunker: Chunker;
  before(() => {
    chunker = new Chunker({ logger: silentLogger() });
  });
  after(() => chunker.close());

  const titles = async (source: string, text: string) =>
    (await chunker.chunk({ collection: "code", source, text })).map(({ title }) => title);
  const filler = (name: string) => `  // ${name} ${"does something of use here. ".repeat(20)}\n`;

  it("cuts code at functions, classes and methods, and names them", async function () {
    this.timeout(20_000);
    const body = filler("this");
    const text = [
      `import a from "a";\n`,
      `/** Says what first does. */\nexport function first() {\n${body}}\n`,
      `export class Second {\n  one() {\n${body}${body}  }\n\n  two() {\n${body}${body}  }\n}\n`,
      `const third = () => {\n${body}};\n`,
    ].join("\n");
    const chunks = await chunker.chunk({ collection: "code", source: "a.ts", text });
    expect(chunks.map(({ title }) => title)).to.deep.equal([
      "first",
      "Second, Second.one",
      "Second.two",
      "third",
    ]);
    expect(chunks[0]?.text).to.contain("/** Says what first does. */");
    expect(chunks[0]).to.include({ startLine: 1 });
    expect(chunks.map(({ text }) => text).join("")).to.equal(text);
  });

  it("names what other languages declare", async function () {
    this.timeout(20_000);
    expect(await titles("a.py", "@cached\ndef load():\n    return 1\n")).to.deep.equal(["load"]);
    expect(
      await titles("a.go", "package a\n\nfunc (s *Store) Load() int { return 1 }\n"),
    ).to.deep.equal(["Load"]);
    expect(await titles("a.rs", "impl Store {\n  fn load() {}\n}\n")).to.deep.equal(["Store"]);
    expect(await titles("A.java", "class Store { int load() { return 1; } }\n")).to.deep.equal([
      "Store",
    ]);
    expect(await titles("a.cpp", "int load(int a) { return a; }\n")).to.deep.equal(["load"]);
    expect(await titles("a.sh", "load() {\n  echo 1\n}\n")).to.deep.equal(["load"]);
    expect(
      await titles("a.proto", "// A store.\nmessage Store {\n  string id = 1;\n}\n"),
    ).to.deep.equal(["Store"]);
  });

  it("cuts prose at headings, but not inside fences", async () => {
    const words = "words of prose that go on. ".repeat(40);
    const text = `# Guide\n\n${words}\n\n## Setup\n\n${words}\n\n\`\`\`sh\n# no heading\n\`\`\`\n`;
    const chunks = await chunker.chunk({ collection: "notes", source: "a.md", text });
    expect(chunks.map(({ title }) => title)).to.deep.equal(["Guide", "Guide > Setup"]);
    expect(chunks[1]).to.include({ startLine: 5, endLine: 11 });
  });

  it("goes on after code that cannot be parsed", async function () {
    this.timeout(20_000);
    const chunks = await chunker.chunk({
      collection: "code",
      source: "a.ts",
      text: "}}} ((( <<< \n",
    });
    expect(chunks).to.have.length(1);
  });

  it("gives the same text the same id, and copies ids of their own", async () => {
    const text = `${"same line\n".repeat(160)}${"same line\n".repeat(160)}`;
    const chunks = await chunker.chunk({ collection: "runs", source: "a.log", text });
    const again = await chunker.chunk({ collection: "runs", source: "a.log", text });
    expect(chunks.length).to.be.greaterThan(1);
    expect(new Set(chunks.map(({ id }) => id)).size).to.equal(chunks.length);
    expect(again).to.deep.equal(chunks);
    const other = await chunker.chunk({ collection: "runs", source: "b.log", text });
    expect(other[0]?.id).to.not.equal(chunks[0]?.id);
  });

  describe("covers any text in order, within the limit, without a blank chunk", () => {
    const line = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 80 }),
      fc.constantFrom(
        "",
        "# Heading",
        "## Deeper",
        "```",
        "  }",
        "class A {",
        "  def f(x):",
        "\t\tx = 1",
        "é🦊".repeat(1200),
      ),
    );
    const text = fc.array(line, { maxLength: 120 }).map((lines) => lines.join("\n"));

    const cutters: Record<string, (text: string) => Piece[]> = {
      lines: (text) => cut(text, []),
      headings: (text) => cut(text, markdownSections(text)),
      indentation: (text) => cut(text, indentationSections(text)),
    };
    for (const [name, pieces] of Object.entries(cutters)) {
      it(`by ${name}`, function () {
        this.timeout(30_000);
        fc.assert(
          fc.property(text, (text) => expectCover(text, pieces(text))),
          { numRuns: 100 },
        );
      });
    }

    it("by syntax", async function () {
      this.timeout(60_000);
      await fc.assert(
        fc.asyncProperty(text, async (text) => {
          const chunks = await chunker.chunk({ collection: "code", source: "a.ts", text });
          let end = 0;
          const pieces = chunks.map((chunk) => {
            const start = text.indexOf(chunk.text, end);
            end = start + chunk.text.length;
            return { ...chunk, start, end };
          });
          expectCover(text, pieces);
        }),
        { numRuns: 60 },
      );
    });
  });
});

function expectCover(text: string, pieces: readonly Piece[]): void {
  let end = 0;
  for (const piece of pieces) {
    expect(piece.start).to.be.at.least(end);
    expect(text.slice(end, piece.start).trim()).to.equal("");
    end = piece.end;
    const own = text.slice(piece.start, piece.end);
    expect(own.trim()).to.not.equal("");
    expect(own.length).to.be.at.most(maxChunkChars);
    expect(own.isWellFormed()).to.equal(text.isWellFormed());
    expect(piece.startLine).to.equal(text.slice(0, piece.start).split("\n").length);
    const lines = own.endsWith("\n") ? own.split("\n").length - 1 : own.split("\n").length;
    expect(piece.endLine).to.equal(piece.startLine + lines - 1);
  }
  expect(text.slice(end).trim()).to.equal("");
}
