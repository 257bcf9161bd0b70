import { expect } from "chai";
import fc from "fast-check";
import { makePack } from "../../services/mcp/packs/pack.ts";
import { BytesTokenCounter } from "../../services/mcp/packs/token-counter.bytes.ts";
import type { TokenCounter } from "../../services/mcp/packs/token-counter.ts";
import type { SearchHit } from "../../services/mcp/search/search.ts";
import { signal } from "./plane.ts";

describe("pack", () => {
  const hit = (source: string, ordinal: number, text: string, rank: number): SearchHit => ({
    chunk: {
      id: `${source}${ordinal}`,
      collection: "notes",
      source,
      ordinal,
      startLine: ordinal * 10 + 1,
      endLine: ordinal * 10 + 10,
      title: "",
      text,
      localOnly: false,
    },
    score: 1 / rank,
    keywordRank: rank,
    vectorRank: 0,
  });
  const counterOf = (count: (text: string) => number): TokenCounter => ({
    count: async (texts) => ({ counts: texts.map(count), tokenizer: "test" }),
  });
  const words = counterOf((text) => text.match(/\S+/g)?.length ?? 0);

  it("takes the best that fit, joins neighbours, and gives a receipt", async () => {
    const hits = [
      hit("a.md", 1, "best of all\n", 1),
      hit("b.md", 0, "second best\n", 2),
      hit("c.md", 0, "best  of all", 3),
      hit("a.md", 0, "above it\n", 4),
      hit("d.md", 0, "too many words to go in here", 5),
    ];
    const pack = await makePack(hits, 14, words, signal);
    expect(pack.text).to.equal(
      "### a.md:1-20\nabove it\nbest of all\n\n### b.md:1-10\nsecond best\n",
    );
    expect(pack).to.include({ tokens: 11, tokenizer: "test" });
    expect(pack.items).to.deep.equal([
      {
        source: "a.md",
        startLine: 1,
        endLine: 20,
        tokens: 7,
        why: "keyword 1, joined 2 neighbours",
      },
      { source: "b.md", startLine: 1, endLine: 10, tokens: 4, why: "keyword 2" },
    ]);
    expect(pack.leftOut.map(({ source, why }) => [source, why])).to.deep.equal([
      ["c.md", "the same as a.md:11-20"],
      ["d.md", "over the budget"],
    ]);
  });

  it("is empty where nothing fits or nothing was found", async () => {
    const empty = await makePack([hit("a.md", 0, "two words", 1)], 1, words, signal);
    expect(empty).to.deep.include({ text: "", tokens: 0, items: [] });
    expect(await makePack([], 100, words, signal)).to.deep.include({ text: "", leftOut: [] });
  });

  const corpus = fc.array(
    fc.record({
      source: fc.constantFrom("a.md", "b/c.ts", "ü.txt"),
      ordinal: fc.nat({ max: 6 }),
      text: fc.string({ unit: "grapheme", minLength: 1, maxLength: 200 }),
    }),
    { maxLength: 25 },
  );
  const counters: Record<string, (text: string) => number> = {
    words: (text) => text.match(/\S+/g)?.length ?? 0,
    "characters by three": (text) => Math.ceil(text.length / 3),
    "the whole costing more than its parts": (text) =>
      text.length + (text.match(/###/g)?.length ?? 0) ** 2,
  };
  for (const [name, count] of Object.entries(counters)) {
    it(`never exceeds its budget, counting ${name}`, async function () {
      this.timeout(60_000);
      await fc.assert(
        fc.asyncProperty(corpus, fc.integer({ min: 1, max: 600 }), async (chunks, budget) => {
          const hits = chunks.map(({ source, ordinal, text }, i) =>
            hit(source, ordinal, text, i + 1),
          );
          const pack = await makePack(hits, budget, counterOf(count), signal);
          expect(count(pack.text)).to.be.at.most(budget);
          expect(pack.tokens).to.equal(count(pack.text));
        }),
        { numRuns: 300 },
      );
    });
  }

  it("counts bytes as an upper bound where no model counts", async () => {
    const { counts } = await new BytesTokenCounter().count(["", "abc", "ü🦊"], signal);
    expect(counts).to.deep.equal([0, 4, 7]);
  });
});
