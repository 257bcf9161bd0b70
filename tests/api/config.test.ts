/** The backend's configuration: defaults, every mistake at once, and what production refuses. */
import { expect } from "chai";
import { readApiConfig } from "../../services/api/config.ts";

/** The mistakes of an environment, as one text. */
function mistakes(env: Record<string, string>): string {
  try {
    readApiConfig(env);
    return "";
  } catch (error) {
    return String(error);
  }
}

describe("backend configuration", () => {
  it("has a default for everything", () => {
    const config = readApiConfig({ DEVMESH_DATA_DIR: "/data" });
    expect(config).to.deep.include({
      host: "127.0.0.1",
      port: 8080,
      environment: "development",
      devBypass: false,
      storageUrl: "sqlite:/data/api.sqlite",
      leaseTtlMs: 12_000,
      serviceToken: undefined,
    });
  });

  it("tells every mistake at once", () => {
    const wrong = {
      API_PORT: "99999",
      LOG_LEVEL: "loud",
      DEVMESH_ENV: "test",
      DEV_BYPASS: "yes",
      REQUEST_TIMEOUT_MS: "0",
      WS_PING_INTERVAL_MS: "1",
      STORAGE_URL: "mysql://x",
      MCP_URL: "ftp://x",
      INFERENCE_URL: "nowhere",
      LEASE_TTL_MS: "1",
      MAX_BLOB_BYTES: "many",
      LOCAL_LLM_PREFERRED: "1",
      CORS_ALLOWED_ORIGINS: "http://localhost:3000/",
      DEVMESH_SERVICE_TOKEN: "dm_looks_like_a_token",
    };
    const text = mistakes(wrong);
    for (const name of Object.keys(wrong)) expect(text).to.contain(name);
  });

  it("never shows a password", () => {
    expect(mistakes({ STORAGE_URL: "mysql://me:hunter2@db/x" })).to.not.contain("hunter2");
  });

  for (const origin of [
    "localhost:3000",
    "http://localhost:3000/",
    "http://a/b",
    "null",
    "HTTP://A",
  ]) {
    it(`refuses ${origin} as an origin, which no browser sends`, () => {
      expect(mistakes({ CORS_ALLOWED_ORIGINS: origin })).to.contain("is no origin");
    });
  }

  it("takes origins, and a wildcard in development", () => {
    const origins = "https://a.example, http://localhost:3000, *";
    const { corsOrigins } = readApiConfig({ CORS_ALLOWED_ORIGINS: origins });
    expect(corsOrigins).to.deep.equal(["https://a.example", "http://localhost:3000", "*"]);
  });

  it("refuses the bypass and a wildcard in production", () => {
    const text = mistakes({
      DEVMESH_ENV: "production",
      DEV_BYPASS: "true",
      CORS_ALLOWED_ORIGINS: "*",
    });
    expect(text).to.contain("DEV_BYPASS").and.contain("CORS_ALLOWED_ORIGINS");
    expect(mistakes({ DEVMESH_ENV: "production" })).to.equal("");
  });
});
