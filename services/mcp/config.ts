/** Owns the service's configuration: one value, read at start. */
import { join } from "node:path";
import {
  type Env,
  EnvReader,
  readDataDir,
  readServing,
  type ServingConfig,
} from "@devmesh/mesh/config";

/** What the service is told from outside. */
export interface McpConfig extends ServingConfig {
  /** `STORAGE_URL`: `sqlite:<path>`, `postgres://…` or `memory:`. Default: a file under `DEVMESH_DATA_DIR`. */
  readonly storageUrl: string;
  /** `VECTOR_DB_URL`: `usearch:<folder>` or `memory:`. Default: a folder under `DEVMESH_DATA_DIR`. */
  readonly vectorDbUrl: string;
  /** `INFERENCE_URL`. Missing: search is by keyword, unless the caller hands in a transport. */
  readonly inferenceUrl: string | undefined;
  /** `INFERENCE_TIMEOUT_MS`: how long a call to inference may take. Default: 30,000. */
  readonly inferenceTimeoutMs: number;
}

/** Reads the configuration. Throws CONFIG_INVALID with every mistake in it. */
export function readMcpConfig(env: Env): McpConfig {
  const reader = new EnvReader(env);
  const dataDir = join(readDataDir(reader), "mcp");
  const config: McpConfig = {
    ...readServing(reader, "MCP", 7000),
    storageUrl: reader.url(
      "STORAGE_URL",
      ["sqlite", "postgres", "postgresql", "memory"],
      `sqlite:${join(dataDir, "context.db")}`,
    ),
    vectorDbUrl: reader.url(
      "VECTOR_DB_URL",
      ["usearch", "memory"],
      `usearch:${join(dataDir, "vectors")}`,
    ),
    inferenceUrl: reader.url("INFERENCE_URL", ["http", "https"], undefined),
    inferenceTimeoutMs: reader.integer("INFERENCE_TIMEOUT_MS", 30_000, { min: 100, max: 600_000 }),
  };
  for (const [name, url] of [
    ["STORAGE_URL", config.storageUrl],
    ["VECTOR_DB_URL", config.vectorDbUrl],
  ] as const) {
    if (/^(sqlite|usearch):$/.test(url)) reader.mistake(`${name}: wants a path after the colon`);
  }
  reader.finish();
  return config;
}
