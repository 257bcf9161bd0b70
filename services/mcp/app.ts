/** The composition root of the memory and context plane. */
import type { Transport } from "@connectrpc/connect";
import { ContextService as ContextContract } from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import type { Logger } from "@devmesh/mesh/log";
import type { Clock } from "@devmesh/mesh/runtime";
import { type App, serve } from "@devmesh/mesh/server";
import { Chunker } from "./chunks/chunker.ts";
import type { McpConfig } from "./config.ts";
import { ContextService } from "./context/context-service.ts";
import { ContextStatus } from "./context/context-status.ts";
import { MemoryContextStore } from "./documents/context-store.memory.ts";
import { PostgresContextStore } from "./documents/context-store.postgres.ts";
import { SqliteContextStore } from "./documents/context-store.sqlite.ts";
import type { ContextStore } from "./documents/context-store.ts";
import { Ingest } from "./documents/ingest.ts";
import { InferenceEmbedder } from "./embedder/embedder.inference.ts";
import { Indexer } from "./indexing/indexer.ts";
import { PackBuilder } from "./packs/pack-builder.ts";
import { BytesTokenCounter } from "./packs/token-counter.bytes.ts";
import { InferenceTokenCounter } from "./packs/token-counter.inference.ts";
import { Search } from "./search/search.ts";
import { VectorArm } from "./search/vector-arm.ts";
import { MemoryVectorStore } from "./vectors/vector-store.memory.ts";
import type { VectorStore } from "./vectors/vector-store.ts";
import { UsearchVectorStore } from "./vectors/vector-store.usearch.ts";

/** What the service is built from. */
export interface McpOptions {
  readonly config: McpConfig;
  readonly logger: Logger;
  readonly clock: Clock;
  /** The way to the inference service. Undefined: search is by keyword, and bytes stand for tokens. */
  readonly inference: Transport | undefined;
}

/** Builds the service and starts its indexer. Throws STORE_TOO_NEW, UNAVAILABLE. */
export async function buildMcp({ config, logger, clock, inference }: McpOptions): Promise<App> {
  const timeoutMs = config.inferenceTimeoutMs;
  const store = await openStore(config.storageUrl);
  const vectors = openVectors(config.vectorDbUrl);
  const embedder = inference && new InferenceEmbedder({ transport: inference, timeoutMs });
  const chunker = new Chunker({ logger });
  const indexer = new Indexer({ store, vectors, embedder, clock, logger });
  const vectorArm = new VectorArm({ store, vectors, embedder, index: indexer, clock, logger });
  const search = new Search({ store, vectorArm, logger });
  const exact = inference && new InferenceTokenCounter({ transport: inference, timeoutMs });
  const counters = [...(exact ? [exact] : []), new BytesTokenCounter()];
  const packs = new PackBuilder({ search, counters, logger });
  const ingest = new Ingest({ store, chunker, indexer });
  const status = new ContextStatus({ store, index: indexer });
  const service = new ContextService({ ingest, search, packs, status });

  const close = async () => {
    await indexer.close();
    await chunker.close();
    await vectors.close();
    await store.close();
  };
  try {
    await indexer.start();
  } catch (error: unknown) {
    await close();
    throw error;
  }
  return {
    services: [serve(ContextContract, service)],
    readiness: [
      {
        name: "storage",
        check: async () => {
          const { documents, chunks } = await store.counts();
          return `${documents} documents, ${chunks} chunks`;
        },
      },
    ],
    close,
  };
}

async function openStore(url: string): Promise<ContextStore> {
  if (url === "memory:") return new MemoryContextStore();
  if (url.startsWith("sqlite:")) return new SqliteContextStore({ path: pathOf(url) });
  return PostgresContextStore.open({ url });
}

function openVectors(url: string): VectorStore {
  if (url === "memory:") return new MemoryVectorStore();
  return new UsearchVectorStore({ folder: pathOf(url) });
}

/** What is behind the scheme, as it is written: a path is not decoded. */
const pathOf = (url: string) => url.slice(url.indexOf(":") + 1);
