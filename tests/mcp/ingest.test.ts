import { expect } from "chai";
import { noFilter } from "../../services/mcp/documents/context-store.ts";
import { FakeEmbedder } from "../../services/mcp/embedder/embedder.fake.ts";
import { input, Plane, signal } from "./plane.ts";

describe("ingest", () => {
  let plane: Plane;
  let embedded: number;

  beforeEach(async () => {
    const embedder = new FakeEmbedder();
    const embed = embedder.embed.bind(embedder);
    embedded = 0;
    embedder.embed = (texts, options) => {
      if (options.purpose === "document" && options.model !== undefined) embedded += texts.length;
      return embed(texts, options);
    };
    plane = new Plane({ embedder });
    await plane.indexer.start();
    await plane.indexer.settled();
  });
  afterEach(() => plane.close());

  it("answers for each document in order; one that is refused does not stop the others", async () => {
    const outcomes = await plane.take(
      { source: "a.md", text: "alpha" },
      { source: "../b.md", text: "beta" },
      { source: "c.md", text: "" },
    );
    const seen = outcomes.map(({ source, state }) => [source, state]);
    expect(seen).to.deep.equal([
      ["a.md", "added"],
      ["../b.md", "refused"],
      ["c.md", "added"],
    ]);
    expect(outcomes[1]).to.have.nested.property("error.reason", "INVALID_FIELD");
  });

  it("does nothing for what is unchanged, also within one call", async () => {
    await plane.take({ source: "a.md", text: "alpha" });
    embedded = 0;
    const outcomes = await plane.take(
      { source: "a.md", text: "alpha" },
      { source: "b.md", text: "beta" },
      { source: "b.md", text: "beta" },
    );
    expect(outcomes.map(({ state }) => state)).to.deep.equal(["unchanged", "added", "unchanged"]);
    expect(embedded).to.equal(1);
  });

  it("embeds only the chunks that changed, and forgets those that are gone", async () => {
    const part = (name: string) => `## ${name}\n\n${`the words of ${name}. `.repeat(40)}\n\n`;
    await plane.take({ source: "a.md", text: part("one") + part("two") + part("three") });
    expect(embedded).to.equal(3);
    embedded = 0;
    const text = part("zero") + part("one") + part("changed") + part("three");
    expect((await plane.take({ source: "a.md", text }))[0]).to.include({
      state: "updated",
      chunks: 4,
    });
    expect(embedded).to.equal(2);
    const { current } = plane.indexer;
    if (current === undefined) throw new Error("there is no index");
    const ids = await plane.store.chunkIds(noFilter, 100);
    expect(await plane.vectors.ids(current)).to.have.members(ids);
    expect(await plane.store.vectorIds(current.id, "", 100)).to.have.members(ids);
  });

  it("refuses a call that is too large as a whole, before anything is stored", async () => {
    const many = Array.from({ length: 501 }, (_, i) => input({ source: `${i}.md`, text: "x" }));
    const big = Array.from({ length: 5 }, (_, i) =>
      input({ source: `${i}.md`, text: "x".repeat(4 * 1024 * 1024) }),
    );
    for (const documents of [many, big]) {
      const failure = await plane.ingest.ingest(documents, signal).catch((error: unknown) => error);
      expect(failure).to.include({ reason: "TOO_LARGE" });
    }
    expect(await plane.store.counts()).to.deep.equal({ documents: 0, chunks: 0 });
  });
});
