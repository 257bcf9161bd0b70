import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { MemoryContextStore } from "../../services/mcp/documents/context-store.memory.ts";
import { noFilter } from "../../services/mcp/documents/context-store.ts";
import { FakeEmbedder } from "../../services/mcp/embedder/embedder.fake.ts";
import type { Embedder } from "../../services/mcp/embedder/embedder.ts";
import { MemoryVectorStore } from "../../services/mcp/vectors/vector-store.memory.ts";
import { Plane, signal } from "./plane.ts";

describe("indexer", () => {
  const planes: Plane[] = [];
  afterEach(async () => {
    for (const plane of planes.splice(0)) await plane.close();
  });

  const open = async (parts: ConstructorParameters<typeof Plane>[0]) => {
    const plane = new Plane(parts);
    planes.push(plane);
    await plane.indexer.start();
    await plane.indexer.settled();
    return plane;
  };
  const vectors = async ({ indexer, store }: Plane) =>
    indexer.current === undefined ? 0 : await store.countVectors(indexer.current.id);
  const notes = (count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => ({
      source: `${i + from}.md`,
      text: `note ${i + from}`,
    }));
  const arms = async ({ search }: Plane) =>
    (await search.search({ query: "note 1", topK: 3, filter: noFilter }, signal)).arms;

  it("gives every chunk a vector, in batches", async () => {
    const plane = await open({ embedder: new FakeEmbedder() });
    await plane.take(...notes(150));
    expect(await vectors(plane)).to.equal(150);
    expect(plane.indexer.current).to.include({ model: "fake/words", dimensions: 64 });
  });

  it("fills a vector store that lost everything from the context store", async () => {
    const store = new MemoryContextStore();
    const embedder = new FakeEmbedder();
    const first = await open({ embedder, store });
    await first.take(...notes(20));
    await first.close();
    embedder.embed = async () => {
      throw new DevmeshError("PROVIDER_UNAVAILABLE", "down");
    };
    const second = await open({ embedder, store, vectors: new MemoryVectorStore() });
    const { current } = second.indexer;
    if (current === undefined) throw new Error("there is no index");
    expect(await second.vectors.count(current)).to.equal(20);
  });

  it("goes on where it was after it stopped in the middle", async () => {
    const store = new MemoryContextStore();
    const embedder = new FakeEmbedder();
    let texts = 0;
    const flaky: Embedder = {
      maxTexts: 10,
      embed: (batch, options) => {
        texts += batch.length;
        if (texts > 30) throw new DevmeshError("PROVIDER_UNAVAILABLE", "down");
        return embedder.embed(batch, options);
      },
    };
    const first = await open({ embedder: flaky, store });
    await first.take(...notes(50));
    expect(await vectors(first)).to.be.within(1, 30);
    expect(first.indexer.problem).to.equal("PROVIDER_UNAVAILABLE: down");
    await first.close();
    const second = await open({ embedder, store });
    expect(await vectors(second)).to.equal(50);
  });

  it("tries again by itself when the embedder was away", async () => {
    const embedder = new FakeEmbedder();
    const { embed } = embedder;
    embedder.embed = async () => {
      throw new DevmeshError("NO_EMBEDDER", "no provider embeds");
    };
    const plane = await open({ embedder });
    await plane.take(...notes(5));
    expect(await arms(plane)).to.deep.equal(["keyword"]);
    expect(plane.indexer.problem).to.contain("NO_EMBEDDER");
    embedder.embed = embed;
    plane.clock.advance(120_000);
    await settledAfterRest(plane);
    expect(await vectors(plane)).to.equal(5);
    expect(await arms(plane)).to.deep.equal(["keyword", "vector"]);
  });

  it("passes over a text that the embedder refuses", async () => {
    const embedder = new FakeEmbedder();
    const embed = embedder.embed.bind(embedder);
    embedder.embed = async (texts, options) => {
      if (texts.some((text) => text.includes("poison"))) {
        throw new DevmeshError("CONTEXT_LENGTH", "too long");
      }
      return embed(texts, options);
    };
    const plane = await open({ embedder });
    await plane.take(...notes(5), { source: "bad.md", text: "poison" }, ...notes(5, 10));
    expect(await vectors(plane)).to.equal(10);
  });

  it("shows private texts to local providers only, and others do not wait for them", async () => {
    const embedder = new FakeEmbedder();
    const embed = embedder.embed.bind(embedder);
    const seenByCloud: string[] = [];
    embedder.embed = async (texts, options) => {
      if (options.localOnly) throw new DevmeshError("NO_EMBEDDER", "no local provider");
      seenByCloud.push(...texts);
      return embed(texts, options);
    };
    const plane = await open({ embedder });
    await plane.take({ source: "p.md", text: "private", localOnly: true }, ...notes(40));
    expect(await vectors(plane)).to.equal(40);
    expect(seenByCloud.join()).to.not.contain("private");
  });

  describe("with another model", () => {
    it("builds the new index beside the old one, swaps, and drops the old one", async () => {
      const store = new MemoryContextStore();
      const index = new MemoryVectorStore();
      const old = new FakeEmbedder({ model: "fake/old" });
      const first = await open({ embedder: old, store, vectors: index });
      await first.take(...notes(40));
      const before = first.indexer.current;
      await first.close();

      const fresh = new FakeEmbedder({ model: "fake/new", dimensions: 32 });
      const gate = Promise.withResolvers<void>();
      const reached = Promise.withResolvers<void>();
      let batches = 0;
      const both: Embedder = {
        maxTexts: 10,
        embed: async (texts, options) => {
          if (options.model === "fake/old") return old.embed(texts, options);
          if (options.purpose === "document" && options.model !== undefined) batches += 1;
          if (batches === 3) {
            reached.resolve();
            await gate.promise;
          }
          return fresh.embed(texts, options);
        },
      };
      const second = new Plane({ embedder: both, store, vectors: index });
      planes.push(second);
      await second.indexer.start();
      await reached.promise;
      const half = await second.search.search(
        { query: "note 1", topK: 5, filter: noFilter },
        signal,
      );
      expect(half).to.include({ embeddingModel: "fake/old", degraded: "" });

      gate.resolve();
      await second.indexer.settled();
      const whole = await second.search.search(
        { query: "note 1", topK: 5, filter: noFilter },
        signal,
      );
      expect(whole).to.include({ embeddingModel: "fake/new", degraded: "" });
      expect(await store.indexVersions()).to.have.length(1);
      expect(await vectors(second)).to.equal(40);
      if (before === undefined) throw new Error("there was no index");
      expect(await index.count(before)).to.equal(0);
      expect(await store.countVectors(before.id)).to.equal(0);
    });

    it("fails no query and mixes no models while it swaps", async () => {
      const store = new MemoryContextStore();
      const index = new MemoryVectorStore();
      const old = new FakeEmbedder({ model: "fake/old" });
      const first = await open({ embedder: old, store, vectors: index });
      await first.take(...notes(60));
      await first.close();
      const fresh = new FakeEmbedder({ model: "fake/new" });
      const both: Embedder = {
        maxTexts: 4,
        embed: (texts, options) =>
          (options.model === "fake/old" ? old : fresh).embed(texts, options),
      };
      const second = new Plane({ embedder: both, store, vectors: index });
      planes.push(second);
      await second.indexer.start();
      const models = new Set<string>();
      while (!models.has("fake/new")) {
        const answer = await second.search.search(
          { query: "note 1", topK: 5, filter: noFilter },
          signal,
        );
        expect(answer.degraded).to.equal("");
        models.add(answer.embeddingModel);
      }
      expect([...models]).to.deep.equal(["fake/old", "fake/new"]);
    });
  });
});

/** The rest that just ended is not the one to wait for: a ring makes it start anew. */
async function settledAfterRest({ indexer }: Plane): Promise<void> {
  indexer.wake();
  await indexer.settled();
}
