import { expect } from "chai";
import { readMcpConfig } from "../../services/mcp/config.ts";

describe("mcp config", () => {
  it("has defaults under the data folder", () => {
    expect(readMcpConfig({ DEVMESH_DATA_DIR: "data" })).to.deep.include({
      host: "127.0.0.1",
      port: 7000,
      logLevel: "info",
      storageUrl: "sqlite:data/mcp/context.db",
      vectorDbUrl: "usearch:data/mcp/vectors",
      inferenceUrl: undefined,
      inferenceTimeoutMs: 30_000,
      requestTimeoutMs: 120_000,
    });
  });

  it("reports all mistakes at once", () => {
    const env = {
      MCP_PORT: "70000",
      LOG_LEVEL: "loud",
      STORAGE_URL: "mysql://x",
      VECTOR_DB_URL: "usearch:",
      INFERENCE_URL: "inference",
      INFERENCE_TIMEOUT_MS: "1",
    };
    const read = () => readMcpConfig(env);
    for (const name of Object.keys(env)) expect(read).to.throw(name);
  });
});
