/** What every context store does, whatever it is made of. */
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import { toChunks } from "../chunks/chunk.ts";
import { vectorSpace } from "../vectors/index-version.ts";
import { type ContextStore, noFilter, type SearchFilter } from "./context-store.ts";
import { checkDocument, type Document, type DocumentInput } from "./document.ts";
import { queryTerms } from "./words.ts";

/** Opens an empty store; it is closed by the suite. */
export type OpenContextStore = () => Promise<ContextStore>;

/** Declares the suite's tests in the running `describe`. */
export function contextStoreSuite(open: OpenContextStore): void {
  let store: ContextStore;
  beforeEach(async function () {
    this.timeout(20_000);
    store = await open();
  });
  afterEach(() => store.close());

  const put = (input: Partial<DocumentInput> & { source: string; text: string }) =>
    putDocument(store, input);
  const find = async (query: string, filter: Partial<SearchFilter> = {}) => {
    const ranked = await store.searchWords(queryTerms(query), { ...noFilter, ...filter }, 10);
    const chunks = await store.chunks(
      ranked.map(({ id }) => id),
      noFilter,
    );
    return ranked.map(({ id }) => chunks.find((chunk) => chunk.id === id)?.source);
  };

  describe("documents", () => {
    it("are added, then replaced; chunks that stay keep their ids", async () => {
      const first = await put({ source: "a.md", text: "alpha\n---\nbeta" });
      expect(first).to.deep.equal({ added: true, removedChunkIds: [] });
      const [kept, gone] = chunksOf({ source: "a.md", text: "alpha\n---\nbeta" });
      const second = await put({ source: "a.md", text: "alpha\n---\ngamma" });
      expect(second).to.deep.equal({ added: false, removedChunkIds: [gone?.id] });
      expect(await store.chunks([kept?.id ?? "", gone?.id ?? ""], noFilter)).to.have.length(1);
      expect(await store.counts()).to.deep.equal({ documents: 1, chunks: 2 });
      expect(await find("beta")).to.deep.equal([]);
      expect(await find("gamma")).to.deep.equal(["a.md"]);
    });

    it("move their chunks' lines without new ids", async () => {
      await put({ source: "a.md", text: "alpha" });
      const [chunk] = chunksOf({ source: "a.md", text: "alpha" });
      await put({ source: "a.md", text: "zeta\n---\nalpha" });
      const [moved] = await store.chunks([chunk?.id ?? ""], noFilter);
      expect(moved).to.include({ ordinal: 1, startLine: 3, endLine: 3, text: "alpha" });
    });

    it("are known by collection and source, with their hash", async () => {
      await put({ source: "a.md", text: "one" });
      const key = { collection: "notes", source: "a.md" } as const;
      const known = await store.known([key, { collection: "code", source: "a.md" }]);
      const { contentHash } = checked({ source: "a.md", text: "one" });
      expect(known).to.deep.equal([{ ...key, contentHash, chunks: 1 }]);
    });

    it("may have no chunks", async () => {
      expect(await put({ source: "empty.md", text: "" })).to.include({ added: true });
      expect(await store.counts()).to.deep.equal({ documents: 1, chunks: 0 });
    });

    it("keep any text as it is", async () => {
      const text = "Grüße 🦊 'x' \"y\" \\ % _ \u0001 \u{10ffff} ﷽";
      await put({ source: "söurce 🦊.md", text, metadata: { "a.b'c\"": "%_\\" } });
      const [id = ""] = await store.chunkIds(noFilter, 10);
      const [chunk] = await store.chunks([id], noFilter);
      expect(chunk).to.include({ text, source: "söurce 🦊.md" });
    });
  });

  describe("words", () => {
    it("rank the chunk that says more of the query first", async () => {
      await put({ source: "a.md", text: "the database migration runs in a transaction" });
      await put({ source: "b.md", text: "the database" });
      await put({ source: "c.md", text: "nothing of it" });
      expect(await find("database migration")).to.deep.equal(["a.md", "b.md"]);
    });

    it("rank a rare word above a common one", async () => {
      for (let i = 0; i < 20; i++)
        await put({ source: `${i}.md`, text: `common words number${i}` });
      await put({ source: "rare.md", text: "common zebra" });
      expect((await find("zebra common"))[0]).to.equal("rare.md");
    });

    it("find identifiers whole, by their parts, and in the other style", async () => {
      await put({ source: "camel.ts", text: "const maxRetryCount = 3;" });
      await put({ source: "snake.py", text: "idle_timeout_ms = 5" });
      expect(await find("maxRetryCount")).to.deep.equal(["camel.ts"]);
      expect(await find("retry")).to.deep.equal(["camel.ts"]);
      expect(await find("idle_timeout_ms")).to.deep.equal(["snake.py"]);
      expect(await find("idleTimeoutMs")).to.deep.equal(["snake.py"]);
    });

    it("find sources and titles by their words", async () => {
      await put({ source: "services/gateway/limits.ts", text: "export {};" });
      expect(await find("gateway limits")).to.deep.equal(["services/gateway/limits.ts"]);
    });

    it("find words without regard to case, accents apart", async () => {
      await put({ source: "a.md", text: "The GATEWAY answers" });
      expect(await find("gateway")).to.deep.equal(["a.md"]);
    });

    it("never throw, whatever the query is", async function () {
      this.timeout(60_000);
      await put({ source: "a.md", text: "alpha beta" });
      const syntax = fc.constantFrom(
        '"',
        "*",
        "NEAR(",
        ":",
        "^",
        "AND",
        "OR NOT",
        "&",
        "|",
        "!",
        "<->",
        "\0",
        "'",
        "(",
        "-",
        "%",
        "\\",
        "alpha",
      );
      const query = fc.oneof(
        fc.string({ unit: "binary", maxLength: 60 }),
        fc.array(syntax, { maxLength: 8 }).map((parts) => parts.join(" ")),
      );
      await fc.assert(
        fc.asyncProperty(
          query,
          fc.string({ unit: "binary", maxLength: 8 }),
          async (words, prefix) => {
            const terms = queryTerms(words);
            await store.searchWords(terms, noFilter, 5);
            await store.searchWords(terms, { ...noFilter, sourcePrefix: prefix }, 5);
            await store.chunkIds({ ...noFilter, metadata: { [prefix]: words } }, 5);
          },
        ),
        { numRuns: 150 },
      );
    });
  });

  describe("filters", () => {
    beforeEach(async () => {
      await put({
        source: "src/a_b.ts",
        text: "shared word",
        metadata: { team: "red", "k.1": "x" },
      });
      await put({ source: "src/axb.ts", text: "shared word", metadata: { team: "blue" } });
      await put({ source: "100%.md", text: "shared word" });
    });

    it("pass collections", async () => {
      expect(await find("shared", { collections: ["notes"] })).to.deep.equal(["100%.md"]);
      expect(await find("shared", { collections: ["notes", "code"] })).to.have.length(3);
      expect(await find("shared", { collections: ["runs"] })).to.deep.equal([]);
    });

    it("take a prefix as it is written, wildcards included", async () => {
      expect(await find("shared", { sourcePrefix: "src/a_" })).to.deep.equal(["src/a_b.ts"]);
      expect(await find("shared", { sourcePrefix: "%" })).to.deep.equal([]);
      expect(await find("shared", { sourcePrefix: "100%" })).to.deep.equal(["100%.md"]);
    });

    it("want every metadata value", async () => {
      expect(await find("shared", { metadata: { team: "red" } })).to.deep.equal(["src/a_b.ts"]);
      expect(await find("shared", { metadata: { team: "red", "k.1": "y" } })).to.deep.equal([]);
      expect(await find("shared", { metadata: { toString: "x" } })).to.deep.equal([]);
    });

    it("hold for ids and chunks too", async () => {
      const filter = { ...noFilter, metadata: { team: "blue" } };
      const ids = await store.chunkIds(noFilter, 10);
      const [only, ...others] = await store.chunks(ids, filter);
      expect(others).to.deep.equal([]);
      expect(only?.source).to.equal("src/axb.ts");
      expect(await store.chunkIds(filter, 10)).to.deep.equal([only?.id]);
      expect(await store.chunkIds(noFilter, 2)).to.have.length(2);
    });
  });

  vectorBookkeeping(() => store);
}

function vectorBookkeeping(store: () => ContextStore): void {
  const space = vectorSpace("fake/small", 2);
  const other = vectorSpace("fake/large", 3);

  describe("vectors", () => {
    let ids: string[];
    beforeEach(async () => {
      await putDocument(store(), { source: "a.md", text: "alpha\n---\nbeta" });
      await putDocument(store(), { source: "b.md", text: "gamma", localOnly: true });
      await store().addIndexVersion(space);
      const pending = await store().pending({ versionId: space.id, after: 0, limit: 10 });
      ids = pending.map(({ id }) => id);
    });

    const vector = (...values: number[]) => new Float32Array(values);

    it("are pending for every chunk, in rising sequence, from a cursor", async () => {
      const all = await store().pending({ versionId: space.id, after: 0, limit: 10 });
      expect(all.map(({ localOnly }) => localOnly)).to.deep.equal([false, false, true]);
      const [first] = all;
      const rest = { versionId: space.id, after: first?.sequence ?? 0, limit: 1 };
      expect((await store().pending(rest)).map(({ id }) => id)).to.deep.equal([ids[1]]);
    });

    it("are kept bit by bit, counted and listed", async () => {
      const [one = "", two = ""] = ids;
      const kept = await store().putVectors(space.id, [
        { chunkId: one, vector: vector(0.1, -0) },
        { chunkId: two, vector: vector(1e-38, 3) },
      ]);
      expect(kept).to.have.members([one, two]);
      expect(await store().countVectors(space.id)).to.equal(2);
      const listed = await store().vectorIds(space.id, "", 10);
      expect(listed).to.deep.equal([one, two].sort());
      expect(await store().vectorIds(space.id, listed[0] ?? "", 10)).to.deep.equal([listed[1]]);
      const [read] = await store().vectors(space.id, [one, "ck_missing"]);
      expect(read).to.deep.equal({ chunkId: one, vector: vector(0.1, -0) });
      expect(await store().pending({ versionId: space.id, after: 0, limit: 10 })).to.have.length(1);
    });

    it("leave with their chunk and are not kept for one that is gone", async () => {
      const [one = "", two = ""] = ids;
      await store().putVectors(space.id, [{ chunkId: one, vector: vector(1, 0) }]);
      await putDocument(store(), { source: "a.md", text: "new" });
      expect(await store().countVectors(space.id)).to.equal(0);
      expect(
        await store().putVectors(space.id, [{ chunkId: two, vector: vector(1, 0) }]),
      ).to.deep.equal([]);
    });

    it("of another length are refused, all of them", async () => {
      const [one = "", two = ""] = ids;
      const reason = await reasonOf(
        store().putVectors(space.id, [
          { chunkId: one, vector: vector(1, 0) },
          { chunkId: two, vector: vector(1, 0, 0) },
        ]),
      );
      expect(reason).to.equal("DIMENSION_MISMATCH");
      expect(await store().countVectors(space.id)).to.equal(0);
    });

    it("of a version that is not there are refused", async () => {
      const vectors = [{ chunkId: ids[0] ?? "", vector: vector(1, 0, 0) }];
      expect(await reasonOf(store().putVectors(other.id, vectors))).to.equal("NOT_FOUND");
    });
  });

  describe("index versions", () => {
    it("are added once, promoted one at a time, and dropped with their vectors", async () => {
      await store().addIndexVersion(space);
      await store().addIndexVersion(space);
      await store().addIndexVersion(other);
      await store().promoteIndexVersion(space.id);
      await store().promoteIndexVersion(other.id);
      await store().promoteIndexVersion(other.id);
      expect(await store().indexVersions()).to.have.deep.members([
        { ...space, state: "building" },
        { ...other, state: "current" },
      ]);
      await store().dropIndexVersion(space.id);
      expect(await store().indexVersions()).to.deep.equal([{ ...other, state: "current" }]);
      expect(await reasonOf(store().promoteIndexVersion(space.id))).to.equal("NOT_FOUND");
      expect(await store().indexVersions()).to.deep.equal([{ ...other, state: "current" }]);
    });
  });
}

/** A document with `---` between its chunks. */
function checked(input: Partial<DocumentInput> & { source: string; text: string }): Document {
  return checkDocument({ collection: "", metadata: {}, localOnly: false, ...input });
}

function chunksOf(input: Partial<DocumentInput> & { source: string; text: string }) {
  const document = checked(input);
  let start = 0;
  const pieces = document.text.split("\n---\n").map((text, index) => {
    const piece = {
      start,
      end: start + text.length,
      startLine: index * 2 + 1,
      endLine: index * 2 + 1,
      title: "",
    };
    start = piece.end + "\n---\n".length;
    return piece;
  });
  return toChunks(document, document.text === "" ? [] : pieces);
}

function putDocument(
  store: ContextStore,
  input: Partial<DocumentInput> & { source: string; text: string },
) {
  return store.putDocument(checked(input), chunksOf(input));
}

async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error: unknown) {
    return error instanceof DevmeshError ? error.reason : String(error);
  }
}
