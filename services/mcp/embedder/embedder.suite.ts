/** What every embedder does, whatever makes the vectors. */
import { expect } from "chai";
import { dot } from "../vectors/vector-bytes.ts";
import type { Embedder, EmbedOptions } from "./embedder.ts";

/** Declares the suite's tests in the running `describe`. */
export function embedderSuite(open: () => Promise<Embedder>): void {
  let embedder: Embedder;
  before(async () => {
    embedder = await open();
  });

  const options = (more: Partial<EmbedOptions> = {}): EmbedOptions => ({
    purpose: "document",
    localOnly: false,
    signal: new AbortController().signal,
    ...more,
  });

  it("gives one vector of length 1 for each text, in order", async () => {
    const texts = ["open a database", "", "🦊 Grüße", "x".repeat(20_000)];
    const { vectors, dimensions, model } = await embedder.embed(texts, options());
    expect(model).to.not.equal("");
    expect(vectors).to.have.length(texts.length);
    for (const vector of vectors) {
      expect(vector).to.have.length(dimensions);
      expect(Math.hypot(...vector)).to.be.closeTo(1, 1e-3);
    }
    const [first] = (await embedder.embed(texts.slice(0, 1), options())).vectors;
    expect([...(first ?? [])]).to.deep.equal([...(vectors[0] ?? [])]);
  });

  it("puts like texts nearer than unlike ones", async () => {
    const texts = ["the database opens a file", "open the database file", "bananas are yellow"];
    const { vectors } = await embedder.embed(texts, options());
    const [first, second, third] = vectors;
    if (!first || !second || !third) throw new Error("vectors are missing");
    expect(dot(first, second)).to.be.greaterThan(dot(first, third));
  });

  it("answers a call that names the model it answered with before", async () => {
    const { model, dimensions } = await embedder.embed(["a"], options());
    const named = await embedder.embed(["a"], options({ model, purpose: "query" }));
    expect(named).to.include({ model, dimensions });
  });

  it("refuses a model that it does not have", async () => {
    const failure = await embedder.embed(["a"], options({ model: "no/such" })).catch((e) => e);
    expect(failure).to.include({ reason: "MODEL_NOT_FOUND" });
  });

  it("takes as many texts as it says", async () => {
    const texts = Array.from({ length: embedder.maxTexts }, (_, i) => `text ${i}`);
    expect((await embedder.embed(texts, options())).vectors).to.have.length(texts.length);
  });

  it("does not answer after an abort", async () => {
    const signal = AbortSignal.abort(new Error("stop"));
    const failure = await embedder.embed(["a"], options({ signal })).catch((e) => e);
    expect(failure).to.be.an("error").with.property("message", "stop");
  });
}
