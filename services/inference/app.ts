/** The composition root: plain `new`, in order. Listening is left to `main.ts`. */
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { EmbeddingService } from "@devmesh/gen/devmesh/inference/v1/embedding_service_pb";
import { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import { type App, serve } from "@devmesh/mesh/server";
import { ChatServiceImpl } from "./chat/chat-service.ts";
import type { InferenceConfig, StorageConfig } from "./config.ts";
import { EmbeddingServiceImpl } from "./embeddings/embedding-service.ts";
import { Ledger } from "./ledger/ledger.ts";
import { MemoryLedgerStore } from "./ledger/ledger-store.memory.ts";
import { PostgresLedgerStore } from "./ledger/ledger-store.postgres.ts";
import { SqliteLedgerStore } from "./ledger/ledger-store.sqlite.ts";
import type { LedgerStore } from "./ledger/ledger-store.ts";
import { ModelServiceImpl } from "./models/model-service.ts";
import { TokenCounter } from "./models/token-counter.ts";
import { buildProviders } from "./providers/providers.ts";
import { Prices } from "./routing/prices.ts";
import { Registry } from "./routing/registry.ts";
import { Router } from "./routing/router.ts";

/** What the service is built from. */
export interface InferenceOptions {
  readonly config: InferenceConfig;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Builds the service. Throws CONFIG_INVALID, STORE_TOO_NEW or UNAVAILABLE. */
export async function buildInference({ config, logger, clock }: InferenceOptions): Promise<App> {
  const { policy, roles, limits } = config;
  const providers = await buildProviders(config, clock);
  const store = await openLedger(config.storage);
  const ledger = new Ledger({ store, clock, logger });
  const registry = new Registry({ providers, roles, clock });
  const prices = new Prices(config.prices);
  const router = new Router({ registry, policy, ledger, limits, clock, prices });
  const counter = new TokenCounter({ registry, policy });
  void logHealth(registry, logger);
  return {
    services: [
      serve(ChatService, new ChatServiceImpl({ router, logger })),
      serve(EmbeddingService, new EmbeddingServiceImpl({ router, logger })),
      serve(ModelService, new ModelServiceImpl({ registry, counter, prices })),
    ],
    readiness: [
      { name: "ledger", check: () => checkLedger(store) },
      { name: "providers", check: () => checkProviders(registry) },
    ],
    close: async () => {
      await registry.close();
      await ledger.close();
      await store.close();
    },
  };
}

async function openLedger(storage: StorageConfig): Promise<LedgerStore> {
  switch (storage.kind) {
    case "memory":
      return new MemoryLedgerStore();
    case "sqlite":
      return new SqliteLedgerStore({ path: storage.path });
    case "postgres":
      return await PostgresLedgerStore.open({ url: storage.url });
    default:
      return storage satisfies never;
  }
}

/** Says at start how each provider is; the first request then finds its models known. */
async function logHealth(registry: Registry, logger: Logger): Promise<void> {
  for (const { name, healthy, detail } of await registry.check()) {
    if (healthy) logger.info({ provider: name }, "provider is up");
    else logger.warn({ provider: name, detail }, "provider is down");
  }
}

async function checkLedger(store: LedgerStore): Promise<string> {
  await store.list({}, { limit: 1 });
  return "readable";
}

/** Ready while anybody can answer; none being configured is the operator's choice. */
async function checkProviders(registry: Registry): Promise<string> {
  const all = await registry.status();
  const up = all.filter(({ healthy }) => healthy).map(({ provider }) => provider.name);
  if (all.length === 0) return "none configured";
  if (up.length === 0) {
    const why = all.map(({ detail }) => detail).join("; ");
    throw new DevmeshError("UNAVAILABLE", `no provider is up: ${why}`, {
      metadata: { part: "providers" },
    });
  }
  return `up: ${up.join(", ")}`;
}
