/** The configuration that every service behind the public door has alike. */
import { type ConnectionBoundsConfig, readConnectionBounds } from "./connection-bounds.ts";
import type { Env } from "./env-reader.ts";
import { EnvReader } from "./env-reader.ts";

/** How a private service is served. */
export interface ServingConfig {
  /** `<PREFIX>_HOST`. Default: `127.0.0.1`. */
  readonly host: string;
  /** `<PREFIX>_PORT`. */
  readonly port: number;
  readonly logLevel: string;
  /** `DEVMESH_SERVICE_TOKEN`: the secret that the services of one deployment share. */
  readonly serviceToken: string | undefined;
  /** `REQUEST_TIMEOUT_MS`. Default: 120,000 ms. */
  readonly requestTimeoutMs: number;
  readonly bounds: ConnectionBoundsConfig;
}

/** Reads it. Throws CONFIG_INVALID with every mistake in it. */
export function readServingConfig(env: Env, prefix: string, defaultPort: number): ServingConfig {
  const reader = new EnvReader(env);
  const levels = ["trace", "debug", "info", "warn", "error", "silent"];
  const config = {
    host: reader.string(`${prefix}_HOST`, "127.0.0.1"),
    port: reader.port(`${prefix}_PORT`, defaultPort),
    logLevel: reader.oneOf("LOG_LEVEL", levels, "info"),
    serviceToken: reader.secret("DEVMESH_SERVICE_TOKEN"),
    requestTimeoutMs: reader.integer("REQUEST_TIMEOUT_MS", 120_000, { min: 1, max: 3_600_000 }),
    bounds: readConnectionBounds(reader),
  };
  reader.finish();
  return config;
}
