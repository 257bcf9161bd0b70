/** A whole context plane on fakes, for tests. */
import { type Client, createClient, createRouterTransport } from "@connectrpc/connect";
import { ContextService } from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import { toConnectError } from "@devmesh/mesh/errors";
import { silentLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { buildMcp } from "../../services/mcp/app.ts";
import { Chunker } from "../../services/mcp/chunks/chunker.ts";
import { readMcpConfig } from "../../services/mcp/config.ts";
import { MemoryContextStore } from "../../services/mcp/documents/context-store.memory.ts";
import type { ContextStore } from "../../services/mcp/documents/context-store.ts";
import type { DocumentInput } from "../../services/mcp/documents/document.ts";
import { Ingest } from "../../services/mcp/documents/ingest.ts";
import type { Embedder } from "../../services/mcp/embedder/embedder.ts";
import { Indexer } from "../../services/mcp/indexing/indexer.ts";
import { Search } from "../../services/mcp/search/search.ts";
import { VectorArm } from "../../services/mcp/search/vector-arm.ts";
import { MemoryVectorStore } from "../../services/mcp/vectors/vector-store.memory.ts";
import type { VectorStore } from "../../services/mcp/vectors/vector-store.ts";
import type { FakeInference } from "./fake-inference.ts";

/** A signal that never aborts. */
export const { signal } = new AbortController();

/** The domain's parts, wired as `app.ts` does. */
export class Plane {
  readonly store: ContextStore;
  readonly vectors: VectorStore;
  readonly clock = new TestClock();
  readonly chunker = new Chunker({ logger: silentLogger() });
  readonly indexer: Indexer;
  readonly ingest: Ingest;
  readonly search: Search;

  constructor(parts: { embedder?: Embedder; store?: ContextStore; vectors?: VectorStore } = {}) {
    const { embedder, store = new MemoryContextStore(), vectors = new MemoryVectorStore() } = parts;
    const { clock, chunker } = this;
    const logger = silentLogger();
    this.store = store;
    this.vectors = vectors;
    this.indexer = new Indexer({ store, vectors, embedder, clock, logger });
    this.ingest = new Ingest({ store, chunker, indexer: this.indexer });
    const vectorArm = new VectorArm({
      store,
      vectors,
      embedder,
      index: this.indexer,
      clock,
      logger,
    });
    this.search = new Search({ store, vectorArm, logger });
  }

  /** Takes notes in and waits for their vectors. */
  async take(...documents: (Partial<DocumentInput> & { source: string; text: string })[]) {
    const outcomes = await this.ingest.ingest(documents.map(input), signal);
    await this.indexer.settled();
    return outcomes;
  }

  async close(): Promise<void> {
    await this.indexer.close();
    await this.chunker.close();
    await this.vectors.close();
  }
}

/** A document with what is usual. */
export function input(
  document: Partial<DocumentInput> & { source: string; text: string },
): DocumentInput {
  return { collection: "", metadata: {}, localOnly: false, ...document };
}

/** The service as it is served, behind a client. */
export interface ServedPlane {
  readonly client: Client<typeof ContextService>;
  ready(): Promise<string[]>;
  close(): Promise<void>;
}

/** Builds the service from environment variables; without any, all is in memory. */
export async function servePlane(
  inference?: FakeInference,
  env: Record<string, string> = {},
): Promise<ServedPlane> {
  const app = await buildMcp({
    config: readMcpConfig({ STORAGE_URL: "memory:", VECTOR_DB_URL: "memory:", ...env }),
    logger: silentLogger(),
    clock: new TestClock(),
    inference: inference?.transport,
  });
  const transport = createRouterTransport(
    (router) => {
      for (const service of app.services) service.register(router);
    },
    {
      router: {
        interceptors: [
          (next) => async (request) => {
            try {
              return await next(request);
            } catch (error: unknown) {
              throw toConnectError(error);
            }
          },
        ],
      },
    },
  );
  return {
    client: createClient(ContextService, transport),
    ready: () => Promise.all(app.readiness.map(({ check }) => check(signal))),
    close: () => app.close(),
  };
}
