import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { expect } from "chai";
import {
  ensureChatModel,
  ensureEmbeddingModel,
  ensureSafetensorsModel,
} from "../../scripts/parts/models.ts";
import { log, need } from "./need.ts";

describe("the model parts", function () {
  this.timeout(600_000);

  it("gives the chat model with the digest it names", async function () {
    const { ggufPath, sha256 } = need(this, await ensureChatModel({ log }));
    expect(await sha256Of(ggufPath)).to.equal(sha256);
  });

  it("gives the embedding model with its digest and tokenizer", async function () {
    const { modelPath, tokenizerPath, sha256 } = need(this, await ensureEmbeddingModel({ log }));
    expect(await sha256Of(modelPath)).to.equal(sha256);
    const tokenizer = JSON.parse(await readFile(tokenizerPath, "utf8"));
    expect(tokenizer.model.vocab).to.have.property("[CLS]");
  });

  it("gives the model for servers with the digest of each file", async function () {
    const { dir, files } = need(this, await ensureSafetensorsModel({ log }));
    for (const { path, sha256 } of files) {
      expect(await sha256Of(join(dir, path)), path).to.equal(sha256);
    }
  });

  it("has them already when asked again", async () => {
    const lines: string[] = [];
    const again = { log: (line: string) => lines.push(line) };
    const first = await ensureChatModel(again);
    if (first.ok) expect(lines).to.deep.equal([]);
  });
});

async function sha256Of(path: string): Promise<string> {
  const digest = createHash("sha256");
  await pipeline(createReadStream(path), digest);
  return digest.digest("hex");
}
