import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { readInferenceConfig } from "../../services/inference/config.ts";

const empty = { DEVMESH_CACHE_DIR: "/nonexistent", DEVMESH_DATA_DIR: "/data" };

describe("inference config", () => {
  it("has defaults that need nothing", () => {
    const config = readInferenceConfig(empty);
    expect(config).to.deep.include({
      port: 7100,
      ollamaBaseUrl: undefined,
      scriptedPath: undefined,
    });
    expect(config.storage).to.deep.equal({ kind: "sqlite", path: "/data/inference.db" });
    expect(config.policy).to.deep.equal({ mode: "local-first", enableCloudFallback: true });
    expect(config.cloud.openAiKey).to.equal(undefined);
  });

  it("reads everything", () => {
    const config = readInferenceConfig({
      ...empty,
      STORAGE_URL: "memory:",
      OLLAMA_BASE_URL: "http://localhost:11434",
      CLOUD_API_KEYS: "openai=sk-a=b, anthropic=sk-c",
      PROVIDER_POLICY: "cloud-first",
      ENABLE_CLOUD_FALLBACK: "false",
      MODEL_CHAT: "ollama/a, openai/b",
      ANSWER_TIMEOUT_MS: "1000",
    });
    expect(config.cloud).to.deep.include({ openAiKey: "sk-a=b", anthropicKey: "sk-c" });
    expect(config.policy).to.deep.equal({ mode: "cloud-first", enableCloudFallback: false });
    expect(config.roles.chat).to.deep.equal(["ollama/a", "openai/b"]);
    expect(config.limits.answerTimeoutMs).to.equal(1000);
  });

  it("reports all mistakes together and shows no secret", () => {
    const wrong = {
      ...empty,
      INFERENCE_PORT: "x",
      STORAGE_URL: "mysql://user:hidden@host/db",
      CLOUD_API_KEYS: "sk-hidden",
      PROVIDER_POLICY: "local-only",
      LOCAL_LLM_PREFERRED: "false",
    };
    try {
      readInferenceConfig(wrong);
      expect.fail("nothing was thrown");
    } catch (error) {
      if (!(error instanceof DevmeshError)) throw error;
      expect(error.reason).to.equal("CONFIG_INVALID");
      for (const name of [
        "INFERENCE_PORT",
        "STORAGE_URL",
        "CLOUD_API_KEYS",
        "LOCAL_LLM_PREFERRED",
      ]) {
        expect(error.message).to.include(name);
      }
      expect(error.message).to.not.include("hidden");
    }
  });

  it("finds embedded models in the cache folder", () => {
    const cache = mkdtempSync(join(tmpdir(), "models-"));
    try {
      for (const path of ["chat-0123/a.gguf", "bge-0123/model.onnx", "bge-0123/tokenizer.json"]) {
        mkdirSync(join(cache, path, ".."), { recursive: true });
        writeFileSync(join(cache, path), "");
      }
      const { embedded } = readInferenceConfig({ ...empty, DEVMESH_CACHE_DIR: cache });
      expect(embedded.chatModelPath).to.equal(join(cache, "chat-0123/a.gguf"));
      expect(embedded.embeddingModelPath).to.equal(join(cache, "bge-0123/model.onnx"));
    } finally {
      rmSync(cache, { recursive: true });
    }
  });
});
