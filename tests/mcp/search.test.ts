import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { MemoryContextStore } from "../../services/mcp/documents/context-store.memory.ts";
import { noFilter, type SearchFilter } from "../../services/mcp/documents/context-store.ts";
import { FakeEmbedder } from "../../services/mcp/embedder/embedder.fake.ts";
import { Plane, signal } from "./plane.ts";

describe("search", () => {
  let plane: Plane;
  let embedder: FakeEmbedder;

  const open = async (parts: ConstructorParameters<typeof Plane>[0]) => {
    plane = new Plane(parts);
    await plane.indexer.start();
    await plane.take(
      { source: "src/open.ts", text: "export function openDatabase() {\n  return 1;\n}\n" },
      {
        source: "src/close.ts",
        text: "// after openDatabase\nexport function closeDatabase() {}\n",
      },
      {
        source: "guide.md",
        text: "# Guide\n\nHow a database is opened and closed.\n",
        metadata: { team: "red" },
      },
      { source: "other.md", text: "Bananas are yellow.\n" },
    );
  };
  const find = (query: string, filter: Partial<SearchFilter> = {}, topK = 10) =>
    plane.search.search({ query, topK, filter: { ...noFilter, ...filter } }, signal);

  beforeEach(async () => {
    embedder = new FakeEmbedder();
    await open({ embedder });
  });
  afterEach(() => plane.close());

  it("fuses both arms and shows the place in each", async () => {
    const answer = await find("database opened");
    expect(answer).to.include({ embeddingModel: "fake/words", degraded: "" });
    expect(answer.arms).to.deep.equal(["keyword", "vector"]);
    const [first] = answer.hits;
    expect(first?.chunk.source).to.equal("guide.md");
    expect(first).to.include({ keywordRank: 1 });
    expect(first?.vectorRank).to.be.greaterThan(0);
    expect(first?.score).to.be.closeTo(1 / 61 + 1 / (60 + (first?.vectorRank ?? 0)), 1e-9);
    const scores = answer.hits.map(({ score }) => score);
    expect(scores).to.deep.equal(scores.toSorted((a, b) => b - a));
  });

  it("puts what bears the very name first, whatever the other arm says", async () => {
    for (const query of ["openDatabase", "closeDatabase", "where is closeDatabase used"]) {
      const name = query.includes("open") ? "src/open.ts" : "src/close.ts";
      expect((await find(query)).hits[0]?.chunk.source, query).to.equal(name);
    }
  });

  it("keeps both arms to the filter", async () => {
    const sources = async (filter: Partial<SearchFilter>) =>
      (await find("database", filter)).hits.map(({ chunk }) => chunk.source);
    expect(await sources({ metadata: { team: "red" } })).to.deep.equal(["guide.md"]);
    expect(await sources({ sourcePrefix: "src/" })).to.have.members([
      "src/open.ts",
      "src/close.ts",
    ]);
    expect(await sources({ collections: ["runs"] })).to.deep.equal([]);
  });

  it("answers no more than was asked for", async () => {
    expect((await find("database", {}, 2)).hits).to.have.length(2);
  });

  it("goes on by keyword when the embedder fails, says why, and comes back", async () => {
    const { embed } = embedder;
    let asked = 0;
    embedder.embed = async () => {
      asked += 1;
      throw new DevmeshError("PROVIDER_UNAVAILABLE", "the embedder is down");
    };
    const answer = await find("database");
    expect(answer.arms).to.deep.equal(["keyword"]);
    expect(answer.degraded).to.equal("vector: PROVIDER_UNAVAILABLE: the embedder is down");
    expect(answer.hits).to.have.length(3);
    await find("database");
    expect(asked, "no waiting on an embedder that was down just now").to.equal(1);
    embedder.embed = embed;
    plane.clock.advance(5_000);
    expect((await find("database")).arms).to.deep.equal(["keyword", "vector"]);
  });

  it("does not compare vectors of another model, even one of the same length", async () => {
    const other = new FakeEmbedder({ model: "fake/other" });
    embedder.embed = (texts, { purpose, localOnly }) =>
      other.embed(texts, { purpose, localOnly, signal });
    const answer = await find("database");
    expect(answer.arms).to.deep.equal(["keyword"]);
    expect(answer.degraded).to.match(/^vector: DIMENSION_MISMATCH: .*fake\/words.*fake\/other/);
  });

  it("goes on by meaning when the words cannot be searched", async () => {
    plane.store.searchWords = async () => {
      throw new DevmeshError("UNAVAILABLE", "the words are gone");
    };
    const answer = await find("database");
    expect(answer.arms).to.deep.equal(["vector"]);
    expect(answer.degraded).to.equal("keyword: the words are gone");
    expect(answer.hits.length).to.be.greaterThan(0);
  });

  it("says so when there is no inference service", async () => {
    await plane.close();
    await open({ store: new MemoryContextStore() });
    const answer = await find("database");
    expect(answer).to.include({
      embeddingModel: "",
      degraded: "vector: NO_EMBEDDER: no inference service is configured",
    });
    expect(answer.hits).to.have.length(3);
  });

  it("ends with the call", async () => {
    const aborted = AbortSignal.abort(new Error("gone"));
    const query = { query: "database", topK: 1, filter: noFilter };
    const failure = await plane.search.search(query, aborted).catch((error: unknown) => error);
    expect(failure).to.have.property("message", "gone");
  });
});
