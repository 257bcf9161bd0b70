/** Every embedder passes one suite; the real models are tried with the inference service. */
import { FakeEmbedder } from "../../services/mcp/embedder/embedder.fake.ts";
import { InferenceEmbedder } from "../../services/mcp/embedder/embedder.inference.ts";
import { embedderSuite } from "../../services/mcp/embedder/embedder.suite.ts";
import { fakeInference } from "../mcp/fake-inference.ts";

describe("embedder", () => {
  describe("fake", () => {
    embedderSuite(async () => new FakeEmbedder());
  });

  describe("inference", () => {
    embedderSuite(async () => {
      const { transport } = fakeInference(new FakeEmbedder());
      return new InferenceEmbedder({ transport, timeoutMs: 5_000 });
    });
  });
});
