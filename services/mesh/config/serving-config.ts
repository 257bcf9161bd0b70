/** The configuration that every service has alike: where it listens, and what it lets in. */
import { type ConnectionBoundsConfig, readConnectionBounds } from "./connection-bounds.ts";
import type { EnvReader } from "./env-reader.ts";

/** How a service is served. */
export interface ServingConfig {
  /** `<PREFIX>_HOST`. Default: `127.0.0.1`. */
  readonly host: string;
  /** `<PREFIX>_PORT`. */
  readonly port: number;
  /** `LOG_LEVEL`. Default: `info`. */
  readonly logLevel: LogLevel;
  /** `DEVMESH_SERVICE_TOKEN`: the secret that the services of one deployment share. */
  readonly serviceToken: string | undefined;
  /** `REQUEST_TIMEOUT_MS`: the longest a unary call may take. Default: 120,000. */
  readonly requestTimeoutMs: number;
  readonly bounds: ConnectionBoundsConfig;
}

/** How much is logged. */
export type LogLevel = (typeof logLevels)[number];

const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;

/** Reads it; mistakes are the reader's to tell. */
export function readServing(reader: EnvReader, prefix: string, defaultPort: number): ServingConfig {
  return {
    host: reader.string(`${prefix}_HOST`, "127.0.0.1"),
    port: reader.port(`${prefix}_PORT`, defaultPort),
    logLevel: reader.oneOf("LOG_LEVEL", logLevels, "info"),
    serviceToken: reader.secret("DEVMESH_SERVICE_TOKEN"),
    requestTimeoutMs: reader.integer("REQUEST_TIMEOUT_MS", 120_000, { min: 1, max: 3_600_000 }),
    bounds: readConnectionBounds(reader),
  };
}
