export { type ConnectionBoundsConfig, readConnectionBounds } from "./connection-bounds.ts";
export { readDataDir } from "./data-dir.ts";
export { type Env, EnvReader } from "./env-reader.ts";
export { type LogLevel, readServing, type ServingConfig } from "./serving-config.ts";
