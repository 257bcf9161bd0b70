/** What the inference service is configured by. Reads the environment once, at start. */
import { homedir } from "node:os";
import { join } from "node:path";
import {
  type Env,
  EnvReader,
  readDataDir,
  readServing,
  type ServingConfig,
} from "@devmesh/mesh/config";
import { findModels } from "./model-files.ts";
import type { ModelRole } from "./providers/provider.ts";
import { type Policy, policyModes, policyOf } from "./routing/policy.ts";
import { type ModelPrice, parsePrices } from "./routing/prices.ts";
import type { TimeLimits } from "./routing/watchdog.ts";

/** Where the ledger is kept. */
export type StorageConfig =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "postgres"; readonly url: string }
  | { readonly kind: "memory" };

/** The cloud providers' keys; undefined: not configured. */
export interface CloudConfig {
  /** Of the OpenAI-compatible provider. Undefined: OpenAI's own. */
  readonly baseUrl: string | undefined;
  readonly openAiKey: string | undefined;
  readonly anthropicKey: string | undefined;
}

/** The inference service's settings. */
export interface InferenceConfig extends ServingConfig {
  readonly storage: StorageConfig;
  readonly policy: Policy;
  readonly limits: TimeLimits;
  /** Undefined: no Ollama. */
  readonly ollamaBaseUrl: string | undefined;
  readonly cloud: CloudConfig;
  /** Undefined: no embedded model of this kind. */
  readonly embedded: {
    readonly chatModelPath: string | undefined;
    readonly embeddingModelPath: string | undefined;
    readonly maxContextTokens: number;
    readonly threads: number;
  };
  /** Undefined: no scripted provider. */
  readonly scriptedPath: string | undefined;
  /** Prices by `provider/model`. */
  readonly prices: Readonly<Record<string, ModelPrice>>;
  /** Names for each role, in their order. Empty: every model that has the role. */
  readonly roles: Readonly<Record<ModelRole, readonly string[]>>;
}

/** Reads and checks all settings. Throws CONFIG_INVALID with every mistake. */
export function readInferenceConfig(env: Env): InferenceConfig {
  const reader = new EnvReader(env);
  const home = homedir();
  const dataDir = readDataDir(reader);
  const cacheDir = reader.string("DEVMESH_CACHE_DIR", join(home, ".cache", "devmesh"));
  const found = findModels(cacheDir);
  const config: InferenceConfig = {
    ...readServing(reader, "INFERENCE", 7100),
    storage: readStorage(reader, dataDir),
    policy: readPolicy(reader),
    limits: {
      answerTimeoutMs: milliseconds(reader, "ANSWER_TIMEOUT_MS", 600_000),
      firstTokenTimeoutMs: milliseconds(reader, "FIRST_TOKEN_TIMEOUT_MS", 120_000),
      idleTimeoutMs: milliseconds(reader, "IDLE_TIMEOUT_MS", 60_000),
    },
    ollamaBaseUrl: reader.url("OLLAMA_BASE_URL", ["http", "https"], undefined),
    cloud: readCloud(reader),
    embedded: {
      chatModelPath: reader.optional("EMBEDDED_CHAT_MODEL") ?? found.chatModelPath,
      embeddingModelPath: reader.optional("EMBEDDED_EMBEDDING_MODEL") ?? found.embeddingModelPath,
      maxContextTokens: reader.integer("EMBEDDED_CONTEXT_TOKENS", 8192, { min: 256, max: 1 << 20 }),
      threads: reader.integer("EMBEDDED_THREADS", 1, { min: 1, max: 256 }),
    },
    scriptedPath: reader.optional("SCRIPTED_PATH"),
    prices: parsePrices(reader.list("MODEL_PRICES", []), (item) => {
      reader.mistake(
        `MODEL_PRICES: ${JSON.stringify(item)} is not provider/model=IN:OUT (US dollars for a million tokens)`,
      );
    }),
    roles: {
      chat: reader.list("MODEL_CHAT", []),
      coding: reader.list("MODEL_CODING", []),
      embeddings: reader.list("MODEL_EMBEDDINGS", []),
    },
  };
  reader.finish();
  return config;
}

function milliseconds(reader: EnvReader, name: string, fallback: number): number {
  return reader.integer(name, fallback, { min: 1, max: 86_400_000 });
}

function readStorage(reader: EnvReader, dataDir: string): StorageConfig {
  const fallback: StorageConfig = { kind: "sqlite", path: join(dataDir, "inference.db") };
  const url = reader.secret("STORAGE_URL");
  if (url === undefined) return fallback;
  if (url === "memory:") return { kind: "memory" };
  if (url.startsWith("sqlite:") && url.length > "sqlite:".length) {
    return { kind: "sqlite", path: url.slice("sqlite:".length) };
  }
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) return { kind: "postgres", url };
  // The value may hold a password, so it is not shown.
  reader.mistake("STORAGE_URL: wants sqlite:<path>, postgres://… or memory:");
  return fallback;
}

function readPolicy(reader: EnvReader): Policy {
  const asked = reader.oneOf<(typeof policyModes)[number] | "">("PROVIDER_POLICY", policyModes, "");
  const preferred = reader.optional("LOCAL_LLM_PREFERRED");
  const localLlmPreferred = reader.boolean("LOCAL_LLM_PREFERRED", true);
  if (asked === "cloud-first" && preferred === "true") {
    reader.mistake("LOCAL_LLM_PREFERRED: true contradicts PROVIDER_POLICY=cloud-first");
  }
  if (asked !== "" && asked !== "cloud-first" && preferred === "false") {
    reader.mistake(`LOCAL_LLM_PREFERRED: false contradicts PROVIDER_POLICY=${asked}`);
  }
  return policyOf({
    mode: asked === "" ? undefined : asked,
    localLlmPreferred,
    enableCloudFallback: reader.boolean("ENABLE_CLOUD_FALLBACK", true),
  });
}

function readCloud(reader: EnvReader): CloudConfig {
  const keys = new Map<string, string>();
  for (const item of (reader.secret("CLOUD_API_KEYS") ?? "").split(",")) {
    const text = item.trim();
    if (text === "") continue;
    const at = text.indexOf("=");
    const name = text.slice(0, Math.max(at, 0));
    const key = text.slice(at + 1);
    if ((name !== "openai" && name !== "anthropic") || key === "") {
      // The item may be a bare key, so it is not shown.
      reader.mistake("CLOUD_API_KEYS: wants openai=<key>,anthropic=<key>");
      continue;
    }
    keys.set(name, key);
  }
  const baseUrl = reader.url("CLOUD_PROVIDER_BASE_URL", ["http", "https"], undefined);
  return {
    baseUrl,
    // A compatible server may want no key at all.
    openAiKey: keys.get("openai") ?? (baseUrl === undefined ? undefined : ""),
    anthropicKey: keys.get("anthropic"),
  };
}
