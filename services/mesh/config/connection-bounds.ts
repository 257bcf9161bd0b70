/** What every port is protected with, from the environment. */
import type { EnvReader } from "./env-reader.ts";

/** The bounds that are set alike on every port. Times are in milliseconds. */
export interface ConnectionBoundsConfig {
  /** `HEADERS_TIMEOUT_MS`: how long the head of a request may take. Default: 15,000. */
  readonly headersTimeoutMs: number;
  /** `BODY_TIMEOUT_MS`: how long a request may take to be whole. Default: 300,000. */
  readonly bodyTimeoutMs: number;
  /** `MAX_CONNECTIONS`: connections at once. Default: 20,000. */
  readonly maxConnections: number;
}

/** Reads them. */
export function readConnectionBounds(reader: EnvReader): ConnectionBoundsConfig {
  const day = 86_400_000;
  return {
    headersTimeoutMs: reader.integer("HEADERS_TIMEOUT_MS", 15_000, { min: 100, max: day }),
    bodyTimeoutMs: reader.integer("BODY_TIMEOUT_MS", 300_000, { min: 100, max: day }),
    maxConnections: reader.integer("MAX_CONNECTIONS", 20_000, { min: 10, max: 1_000_000 }),
  };
}
