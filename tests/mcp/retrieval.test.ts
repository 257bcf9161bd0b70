/** The plane on this repository's own files: what is asked for by name is found first. */
import { glob, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { SqliteContextStore } from "../../services/mcp/documents/context-store.sqlite.ts";
import { noFilter } from "../../services/mcp/documents/context-store.ts";
import { queryTerms } from "../../services/mcp/documents/words.ts";
import { FakeEmbedder } from "../../services/mcp/embedder/embedder.fake.ts";
import { Plane, signal } from "./plane.ts";

describe("retrieval on this repository", () => {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const pattern = "{services/{mesh,mcp},proto}/**/*.{ts,proto,sql}";
  let plane: Plane;

  before(async function () {
    this.timeout(120_000);
    plane = new Plane({
      store: new SqliteContextStore({ path: ":memory:" }),
      embedder: new FakeEmbedder(),
    });
    await plane.indexer.start();
    const documents: { source: string; text: string }[] = [];
    for await (const path of glob(pattern, { cwd: root, exclude: ["**/node_modules"] })) {
      const source = path.replaceAll("\\", "/");
      documents.push({ source, text: await readFile(`${root}${source}`, "utf8") });
    }
    expect(documents.length).to.be.greaterThan(40);
    await plane.take(...documents);
  });
  after(() => plane.close());

  const golden: [query: string, source: string][] = [
    ["openSqlite", "services/mesh/database/sqlite.ts"],
    ["withTransaction", "services/mesh/database/postgres.ts"],
    ["toConnectError", "services/mesh/errors/connect-errors.ts"],
    ["checkDocument", "services/mcp/documents/document.ts"],
    ["reciprocalRank", "services/mcp/search/fusion.ts"],
    ["message IngestOutcome", "proto/devmesh/mcp/v1/document.proto"],
    ["where is the class SortableIds", "services/mesh/runtime/ids.ts"],
    ["migrations/postgres/0001_context.sql", "services/mcp/migrations/postgres/0001_context.sql"],
  ];
  for (const [query, source] of golden) {
    it(`finds ${query} at rank 1`, async () => {
      const { hits } = await plane.search.search({ query, topK: 5, filter: noFilter }, signal);
      expect(hits[0]?.chunk.source).to.equal(source);
    });
  }

  const described: [query: string, source: string][] = [
    ["replaces what looks like a secret in log lines", "services/mesh/log/redact.ts"],
    ["forward-only migrations numbered files checksums", "services/mesh/database/migrations.ts"],
    ["surrogate pair is not cut in two", "services/mcp/chunks/cut.ts"],
    ["RFC 9457 problem document", "services/mesh/errors/problem.ts"],
  ];
  // The fake embedder knows no meaning: what is described is only asked of the words.
  for (const [query, source] of described) {
    it(`finds "${query}" by its words among the first three`, async () => {
      const ranked = await plane.store.searchWords(queryTerms(query), noFilter, 3);
      const ids = ranked.map(({ id }) => id);
      const chunks = await plane.store.chunks(ids, noFilter);
      expect(chunks.map((chunk) => chunk.source)).to.include(source);
    });
  }
});
