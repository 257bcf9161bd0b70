/** What every vector store does, whatever finds the vectors. */
import { SeededRandom } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { ChunkVector } from "../documents/context-store.ts";
import { vectorSpace } from "./index-version.ts";
import { nearest } from "./nearest.ts";
import type { VectorStore } from "./vector-store.ts";

/** Declares the suite's tests in the running `describe`; each store is closed by the suite. */
export function vectorStoreSuite(open: () => Promise<VectorStore>): void {
  const space = vectorSpace("fake/small", 3);
  let store: VectorStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const unit = (...values: number[]) => {
    const length = Math.hypot(...values);
    return new Float32Array(values.map((value) => value / length));
  };
  const found = async (vector: Float32Array, limit = 10) =>
    (await store.search(space, vector, limit)).map(({ id }) => id);

  it("answers the nearest first, with their cosine", async () => {
    await store.upsert(space, [
      { chunkId: "far", vector: unit(-1, 0, 0) },
      { chunkId: "near", vector: unit(1, 0.1, 0) },
      { chunkId: "middle", vector: unit(1, 1, 0) },
    ]);
    const ranked = await store.search(space, unit(1, 0, 0), 2);
    expect(ranked.map(({ id }) => id)).to.deep.equal(["near", "middle"]);
    expect(ranked[1]?.score).to.be.closeTo(Math.SQRT1_2, 0.01);
  });

  it("is empty before anything is added", async () => {
    expect(await found(unit(1, 0, 0))).to.deep.equal([]);
    expect(await store.count(space)).to.equal(0);
    expect(await store.ids(space)).to.deep.equal([]);
    await store.remove(space, ["none"]);
  });

  it("replaces a vector under the same id", async () => {
    await store.upsert(space, [{ chunkId: "a", vector: unit(1, 0, 0) }]);
    await store.upsert(space, [
      { chunkId: "a", vector: unit(0, 1, 0) },
      { chunkId: "b", vector: unit(1, 0.5, 0) },
    ]);
    expect(await store.count(space)).to.equal(2);
    expect(await found(unit(1, 0, 0), 1)).to.deep.equal(["b"]);
    expect(await store.ids(space)).to.have.members(["a", "b"]);
  });

  it("removes vectors for good", async () => {
    await store.upsert(space, [
      { chunkId: "a", vector: unit(1, 0, 0) },
      { chunkId: "b", vector: unit(0, 1, 0) },
    ]);
    await store.remove(space, ["a", "unknown"]);
    expect(await found(unit(1, 0, 0))).to.deep.equal(["b"]);
    expect(await store.count(space)).to.equal(1);
  });

  it("refuses vectors of another length, all of them", async () => {
    const wrong: ChunkVector[] = [
      { chunkId: "a", vector: unit(1, 0, 0) },
      { chunkId: "b", vector: unit(1, 0) },
    ];
    for (const work of [store.upsert(space, wrong), store.search(space, unit(1, 0), 1)]) {
      const failure = await work.catch((error: unknown) => error);
      expect(failure).to.include({ reason: "DIMENSION_MISMATCH" });
    }
    expect(await store.count(space)).to.equal(0);
  });

  it("keeps spaces apart, also those of equal dimensions, and drops one alone", async () => {
    const other = vectorSpace("fake/other", 3);
    await store.upsert(space, [{ chunkId: "a", vector: unit(1, 0, 0) }]);
    await store.upsert(other, [{ chunkId: "b", vector: unit(1, 0, 0) }]);
    expect(await found(unit(1, 0, 0))).to.deep.equal(["a"]);
    await store.drop(other);
    expect(await store.count(other)).to.equal(0);
    expect(await store.count(space)).to.equal(1);
  });

  it("finds what an exact search finds, after many changes", async function () {
    this.timeout(60_000);
    const wide = vectorSpace("fake/wide", 48);
    const seeded = new SeededRandom(7);
    const random = () => seeded.next();
    // Clustered, as texts are: uniform random vectors have no near neighbours.
    const centres = Array.from({ length: 24 }, () => gaussians(random, 48));
    const near = (centre: readonly number[]) =>
      unit(...gaussians(random, 48).map((value, i) => value * 0.6 + (centre[i] ?? 0)));
    const vectors = Array.from({ length: 2_000 }, (_, i) => ({
      chunkId: `c${i}`,
      vector: near(centres[i % centres.length] ?? []),
    }));
    await store.upsert(wide, vectors);
    const removed = vectors.slice(0, 500);
    await store.remove(
      wide,
      removed.map(({ chunkId }) => chunkId),
    );
    const changed = vectors
      .slice(500, 800)
      .map((old) => ({ ...old, vector: near(centres[0] ?? []) }));
    await store.upsert(wide, changed);
    const kept = [...changed, ...vectors.slice(800)];

    let hits = 0;
    const queries = 50;
    for (let i = 0; i < queries; i++) {
      const query = near(centres[i % centres.length] ?? []);
      const exact = new Set(nearest(query, kept, 10).map(({ id }) => id));
      const approximate = await store.search(wide, query, 10);
      hits += approximate.filter(({ id }) => exact.has(id)).length;
    }
    expect(hits / (queries * 10)).to.be.at.least(0.98);
    expect(await store.count(wide)).to.equal(1_500);
  });
}

function gaussians(random: () => number, count: number): number[] {
  return Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}
