import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { FakeEmbedder } from "../../services/mcp/embedder/embedder.fake.ts";
import { type FakeInference, fakeInference } from "./fake-inference.ts";
import { type ServedPlane, servePlane } from "./plane.ts";

describe("context service", () => {
  let inference: FakeInference;
  let plane: ServedPlane;

  beforeEach(async () => {
    inference = fakeInference(new FakeEmbedder());
    plane = await servePlane(inference);
    await plane.client.ingest({
      documents: [
        { source: "src/retry.ts", text: "export function retryLater() {\n  return 1;\n}\n" },
        {
          source: "notes/retry.md",
          text: "# Retries\n\nWe retry with jitter.\n",
          metadata: { k: "v" },
        },
      ],
    });
  });
  afterEach(() => plane.close());

  const failure = async (call: Promise<unknown>) =>
    toDevmeshError(await call.then(() => undefined).catch((error: unknown) => error));

  it("ingests and tells what became of each document", async () => {
    const { outcomes } = await plane.client.ingest({
      documents: [
        {
          source: "notes/retry.md",
          text: "# Retries\n\nWe retry with jitter.\n",
          metadata: { k: "v" },
        },
        { source: "/abs", text: "x" },
      ],
    });
    expect(outcomes[0]).to.include({ source: "notes/retry.md", state: "unchanged", chunks: 1 });
    expect(outcomes[1]).to.include({ source: "/abs", state: "refused", reason: "INVALID_FIELD" });
    expect(outcomes[1]?.message).to.equal("source: must be relative");
  });

  it("searches with a receipt", async () => {
    const { items, receipt } = await plane.client.search({ query: "retryLater" });
    expect(items[0]).to.include({
      source: "src/retry.ts",
      collection: "code",
      startLine: 1,
      endLine: 3,
      title: "retryLater",
      keywordRank: 1,
    });
    expect(receipt?.arms).to.include("keyword");
    const filtered = await plane.client.search({
      query: "retry",
      filter: { metadata: { k: "v" } },
    });
    expect(filtered.items.map(({ source }) => source)).to.deep.equal(["notes/retry.md"]);
  });

  it("refuses what the contract does not allow", async () => {
    const { client } = plane;
    const calls = [
      client.search({ query: "" }),
      client.search({ query: "x".repeat(4_097) }),
      client.search({ query: "x", topK: 101 }),
      client.search({ query: "x", filter: { collections: ["secrets"] } }),
      client.buildPack({ task: "", budgetTokens: 10 }),
      client.buildPack({ task: "x", budgetTokens: 0 }),
      client.buildPack({ task: "x", budgetTokens: 200_001 }),
    ];
    for (const call of calls) expect(await failure(call)).to.include({ reason: "INVALID_FIELD" });
  });

  it("builds a pack under the model's own count", async () => {
    const { pack } = await plane.client.buildPack({ task: "retry with jitter", budgetTokens: 60 });
    expect(pack).to.include({ budgetTokens: 60, tokenizer: "words" });
    expect(pack?.text).to.contain("### notes/retry.md:1-3\n# Retries");
    expect(pack?.tokens).to.be.within(1, 60);
  });

  it("counts bytes when the model cannot count", async () => {
    inference.counts = false;
    const { pack } = await plane.client.buildPack({ task: "retry with jitter", budgetTokens: 100 });
    expect(pack).to.include({ tokenizer: "bytes (upper bound)" });
    expect(Buffer.byteLength(pack?.text ?? "")).to.be.within(1, 99);
  });

  it("tells its status and readiness", async () => {
    const status = await plane.client.getStatus({});
    expect(status).to.include({ documents: 2n, chunks: 2n });
    expect(await plane.ready()).to.deep.equal(["2 documents, 2 chunks"]);
  });

  it("works by keyword without an embedder, and says so", async () => {
    const bare = await servePlane();
    await bare.client.ingest({ documents: [{ source: "a.md", text: "alpha" }] });
    const { items, receipt } = await bare.client.search({ query: "alpha" });
    expect(items).to.have.length(1);
    expect(receipt?.degraded).to.contain("NO_EMBEDDER");
    const { pack } = await bare.client.buildPack({ task: "alpha", budgetTokens: 100 });
    expect(pack).to.include({ tokenizer: "bytes (upper bound)" });
    expect(pack?.degraded).to.contain("NO_EMBEDDER");
    expect(await bare.client.getStatus({})).to.include({ embeddingModel: "", dimensions: 0 });
    await bare.close();
  });

  it("keeps everything on disk by default", async function () {
    this.timeout(20_000);
    const folder = await mkdtemp(join(tmpdir(), "devmesh-mcp-"));
    const env = { DEVMESH_DATA_DIR: folder, STORAGE_URL: "", VECTOR_DB_URL: "" };
    try {
      const first = await servePlane(inference, env);
      await first.client.ingest({ documents: [{ source: "a.md", text: "alpha" }] });
      await first.close();
      const second = await servePlane(inference, env);
      expect((await second.client.search({ query: "alpha" })).items).to.have.length(1);
      await second.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
