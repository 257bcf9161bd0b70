/** The backend's configuration: every key, its default, and its bounds. */
import { join } from "node:path";
import {
  type Env,
  EnvReader,
  readDataDir,
  readServing,
  type ServingConfig,
} from "@devmesh/mesh/config";
import type { RateLimit } from "@devmesh/mesh/interceptors";
import { tokenPattern } from "./tokens/api-authenticator.ts";

/** What the backend is started with. */
export interface ApiConfig extends ServingConfig {
  /** `production` refuses the dev bypass and a CORS wildcard. Default: `development`. */
  readonly environment: "development" | "production";
  /** True: calls from this machine need no token. Default: false. */
  readonly devBypass: boolean;
  /** Origins that browsers may call from. Default: `http://localhost:3000`. */
  readonly corsOrigins: readonly string[];
  /** How often a stream shows that it lives. Default: 15,000 ms. */
  readonly wsPingIntervalMs: number;
  /** How long a watcher may take for one event until it is shed. Default: 30,000 ms. */
  readonly slowReaderMs: number;
  /** `sqlite:<path>`, `postgres://…` or `memory:`. Default: SQLite in the data folder. */
  readonly storageUrl: string;
  /** Where files of this host live. Default: `~/.local/share/devmesh`. */
  readonly dataDir: string;
  /** The context plane, `http://host:port`. Absent: it is wired in process, or there is none. */
  readonly mcpUrl: string | undefined;
  /** The models, `http://host:port`. Absent: as above. */
  readonly inferenceUrl: string | undefined;
  /** How long a lease lives without a heartbeat. Default: 12,000 ms. */
  readonly leaseTtlMs: number;
  /**
   * What survives the loss of power on SQLite: `normal`, jobs accepted under a
   * key and all that was committed before them; `full`, every write. Default:
   * `normal`.
   */
  readonly durability: "normal" | "full";
  /** How many jobs may wait. Default: 1,000,000. */
  readonly maxQueuedJobs: number;
  /** The largest blob taken. Default: 1 GiB. */
  readonly maxBlobBytes: number;
  /** Folder of the built console. Absent: none is served. */
  readonly consoleDir: string | undefined;
  /** Feature flags at the start: those that the console reads, and the modules. */
  readonly features: Readonly<Record<string, boolean>>;
  /** `PROVIDER_POLICY` at the start. Empty: as the models' own service is configured. */
  readonly providerPolicy: string;
  /** `RATE_LIMIT` of each token at the start. Absent: none. */
  readonly rateLimit: RateLimit | undefined;
  /** `ANONYMOUS_RATE_LIMIT` of each address without a good token. Absent: none. Default: `100:1000`. */
  readonly anonymousRateLimit: RateLimit | undefined;
  /** `LOG_RETENTION_DAYS` at the start. 0, the default: for ever. */
  readonly logRetentionDays: number;
}

/** Reads the configuration. Throws CONFIG_INVALID with every mistake in it. */
export function readApiConfig(env: Env): ApiConfig {
  const reader = new EnvReader(env);
  const environment = reader.oneOf("DEVMESH_ENV", ["development", "production"], "development");
  const dataDir = readDataDir(reader);
  const config: ApiConfig = {
    ...readServing(reader, "API", 8080),
    environment,
    devBypass: reader.boolean("DEV_BYPASS", false),
    corsOrigins: reader.list("CORS_ALLOWED_ORIGINS", ["http://localhost:3000"]),
    wsPingIntervalMs: reader.integer("WS_PING_INTERVAL_MS", 15_000, { min: 100, max: 600_000 }),
    slowReaderMs: reader.integer("SLOW_READER_MS", 30_000, { min: 100, max: 600_000 }),
    storageUrl: reader.url(
      "STORAGE_URL",
      ["sqlite", "postgres", "postgresql", "memory"],
      `sqlite:${join(dataDir, "api.sqlite")}`,
    ),
    dataDir,
    mcpUrl: reader.url("MCP_URL", ["http"], undefined),
    inferenceUrl: reader.url("INFERENCE_URL", ["http"], undefined),
    leaseTtlMs: reader.integer("LEASE_TTL_MS", 12_000, { min: 500, max: 600_000 }),
    durability: reader.oneOf("DURABILITY", ["normal", "full"], "normal"),
    maxQueuedJobs: reader.integer("MAX_QUEUED_JOBS", 1_000_000, { min: 1, max: 10_000_000 }),
    maxBlobBytes: reader.integer("MAX_BLOB_BYTES", 1024 ** 3, { min: 1024, max: 1024 ** 4 }),
    consoleDir: reader.optional("CONSOLE_DIR"),
    providerPolicy: reader.oneOf("PROVIDER_POLICY", policies, ""),
    rateLimit: readRate(reader, "RATE_LIMIT", undefined),
    anonymousRateLimit: readRate(reader, "ANONYMOUS_RATE_LIMIT", { perSecond: 100, burst: 1000 }),
    logRetentionDays: reader.integer("LOG_RETENTION_DAYS", 0, { min: 0, max: 36_500 }),
    features: {
      ...readModules(reader),
      localLLMPreferred: reader.boolean("LOCAL_LLM_PREFERRED", true),
      enableCloudFallback: reader.boolean("ENABLE_CLOUD_FALLBACK", true),
    },
  };
  refuseOdd(config, reader);
  if (environment === "production") refuseInProduction(config, reader);
  reader.finish();
  return config;
}

const policies = ["", "local-only", "local-first", "cloud-first"];

/** The modules that can be switched off. */
const modules = ["context", "infer", "agents", "vms"];

/** `DISABLED_FEATURES` names those that start switched off. */
function readModules(reader: EnvReader): Record<string, boolean> {
  const off = reader.list("DISABLED_FEATURES", []);
  for (const name of off) {
    if (modules.includes(name)) continue;
    reader.mistake(`DISABLED_FEATURES: ${name} is none of ${modules.join(", ")}`);
  }
  return Object.fromEntries(modules.map((name) => [name, !off.includes(name)]));
}

/** `<per second>:<burst>`; `0`: no limit. Without a burst: as many as in one second. */
function readRate(
  reader: EnvReader,
  name: string,
  fallback: RateLimit | undefined,
): RateLimit | undefined {
  const text = reader.optional(name);
  if (text === undefined) return fallback;
  const [, rate, burst] = /^(\d+(?:\.\d+)?)(?::([1-9]\d*))?$/.exec(text) ?? [];
  const perSecond = Number(rate);
  if (rate === undefined || perSecond > 1e6 || Number(burst ?? 1) > 1e6) {
    reader.mistake(
      `${name}: wants calls a second and a burst, as 100:200 (at most 1000000 each), got ${JSON.stringify(text)}`,
    );
    return fallback;
  }
  if (perSecond === 0) return undefined;
  return {
    perSecond,
    burst: burst === undefined ? Math.max(1, Math.floor(perSecond)) : Number(burst),
  };
}

/** What is well formed and would never work. */
function refuseOdd({ corsOrigins, serviceToken }: ApiConfig, reader: EnvReader): void {
  for (const origin of corsOrigins) {
    if (origin === "*" || (URL.canParse(origin) && new URL(origin).origin === origin)) continue;
    reader.mistake(
      `CORS_ALLOWED_ORIGINS: ${JSON.stringify(origin)} is no origin: wants scheme://host[:port]`,
    );
  }
  if (serviceToken === "") reader.mistake("DEVMESH_SERVICE_TOKEN: is empty");
  if (serviceToken !== undefined && tokenPattern.test(serviceToken)) {
    reader.mistake("DEVMESH_SERVICE_TOKEN: looks like an access token (dm_…): take another secret");
  }
}

function refuseInProduction(config: ApiConfig, reader: EnvReader): void {
  if (config.devBypass) reader.mistake("DEV_BYPASS: is refused in production");
  if (config.corsOrigins.includes("*")) {
    reader.mistake("CORS_ALLOWED_ORIGINS: a wildcard is refused in production");
  }
}
