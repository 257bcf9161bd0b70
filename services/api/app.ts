/** The backend's composition root: plain `new`, in order. */
import { createClient, type Transport } from "@connectrpc/connect";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { QueueService } from "@devmesh/gen/devmesh/api/v1/queue_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { ContextService as ContextPlane } from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import { serviceTokenAuthenticator } from "@devmesh/mesh/interceptors";
import type { Logger } from "@devmesh/mesh/log";
import { openApiDocument } from "@devmesh/mesh/rest";
import type { Clock, Ids } from "@devmesh/mesh/runtime";
import {
  type App,
  bindMethods,
  type HttpHandler,
  type ReadinessCheck,
  type ServerOptions,
  serve,
  serverInterceptors,
} from "@devmesh/mesh/server";
import { AgentServiceImpl } from "./agents/agent-service.ts";
import { Agents } from "./agents/agents.ts";
import { AuditLog } from "./audit/audit-log.ts";
import { AuditServiceImpl } from "./audit/audit-service.ts";
import { BlobServiceImpl } from "./blobs/blob-service.ts";
import type { ApiConfig } from "./config.ts";
import { createConsoleHandler } from "./console/console.ts";
import { ContextServiceImpl } from "./context/context-service.ts";
import { createOpenAiHandler } from "./dialects/openai.ts";
import { ChatServiceImpl } from "./infer/chat-service.ts";
import { InferServiceImpl } from "./infer/infer-service.ts";
import { JobServiceImpl } from "./jobs/job-service.ts";
import { JobSignals } from "./jobs/job-signals.ts";
import { JobWatch } from "./jobs/job-watch.ts";
import { Jobs } from "./jobs/jobs.ts";
import { Queue } from "./queue/queue.ts";
import { QueueServiceImpl } from "./queue/queue-service.ts";
import { RunnerServiceImpl } from "./runners/runner-service.ts";
import { Runners } from "./runners/runners.ts";
import { openStores, type Stores } from "./stores.ts";
import { createJobSocket } from "./streams/job-socket.ts";
import { SystemServiceImpl } from "./system/system-service.ts";
import { apiAuthenticator } from "./tokens/api-authenticator.ts";
import { scopesOf } from "./tokens/scopes.ts";
import { TokenServiceImpl } from "./tokens/token-service.ts";
import { Tokens } from "./tokens/tokens.ts";

/** What the backend is built from. */
export interface ApiOptions {
  readonly config: ApiConfig;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly version: string;
  /** The context plane. */
  readonly mcp: Transport;
  /** The models. */
  readonly inference: Transport;
}

/** A built backend: the app, and how the mesh shall serve it. */
export interface BuiltApi
  extends Pick<ServerOptions, "app" | "methods" | "interceptors" | "routes" | "upgrade"> {
  readonly tokens: Tokens;
}

/** Every contract at the public door. */
const contracts = [
  JobService,
  QueueService,
  BlobService,
  ContextService,
  InferService,
  ChatService,
  TokenService,
  AgentService,
  AuditService,
  SystemService,
  RunnerService,
];

/** Builds the backend. Throws if its store cannot be opened. */
export async function buildApi(options: ApiOptions): Promise<BuiltApi> {
  const { config, logger, clock, ids, version, mcp, inference } = options;
  const stores = await openStores({
    storageUrl: config.storageUrl,
    dataDir: config.dataDir,
    clock,
    maxBlobBytes: config.maxBlobBytes,
    durability: config.durability,
  });
  const { leaseTtlMs } = config;
  const scopes = scopesOf(contracts.map((desc) => ({ desc })));
  const tokens = new Tokens({
    store: stores.tokens,
    clock,
    ids,
    scopes,
    isRunning: async (jobId) => (await stores.jobs.get(jobId))?.status === JobStatus.RUNNING,
  });
  const agents = new Agents({ store: stores.agents, clock, leaseTtlMs });
  const maxQueued = () => config.maxQueuedJobs;
  const queue = new Queue({ store: stores.jobs, clock, maxQueued });
  const jobs = new Jobs({ store: stores.jobs, blobs: stores.blobs, agents, queue, ids });
  const signals = new JobSignals(stores.jobs, clock);
  const keepaliveMs = config.wsPingIntervalMs;
  const watch = new JobWatch({ store: stores.jobs, signals, clock, keepaliveMs });
  const runners = new Runners({
    store: stores.jobs,
    signals,
    agents,
    tokens,
    clock,
    logger,
    leaseTtlMs,
    // An ask for work is answered well before its deadline cuts it off.
    maxWaitMs: config.requestTimeoutMs / 2,
  });
  const audit = new AuditLog({ store: stores.audit, logger });
  const plane = createClient(ContextPlane, mcp);
  const chat = createClient(ChatService, inference);
  const models = createClient(ModelService, inference);
  const parts = [
    storageCheck(stores),
    {
      name: "mcp",
      check: async (signal: AbortSignal) => {
        const status = await plane.getStatus({}, { signal });
        const how = status.embeddingModel === "" ? "by keyword" : `with ${status.embeddingModel}`;
        return `${status.documents} documents, searched ${how}`;
      },
    },
    {
      name: "inference",
      check: async (signal: AbortSignal) => {
        const { models: found } = await models.listModels({}, { signal });
        return `${found.length} models`;
      },
    },
  ];

  const services = [
    serve(JobService, new JobServiceImpl({ jobs, store: stores.jobs, watch })),
    serve(QueueService, new QueueServiceImpl({ queue })),
    serve(BlobService, new BlobServiceImpl({ store: stores.blobs })),
    serve(ContextService, new ContextServiceImpl({ plane })),
    serve(InferService, new InferServiceImpl({ chat, models })),
    serve(ChatService, new ChatServiceImpl({ chat })),
    serve(TokenService, new TokenServiceImpl({ tokens })),
    serve(AgentService, new AgentServiceImpl({ agents })),
    serve(AuditService, new AuditServiceImpl({ store: stores.audit })),
    serve(
      SystemService,
      new SystemServiceImpl({
        version,
        startedAtMs: clock.now(),
        features: config.features,
        parts,
        agents,
      }),
    ),
    serve(RunnerService, new RunnerServiceImpl({ runners })),
  ];
  const interceptors = serverInterceptors({
    logger,
    clock,
    ids,
    audit: (entry) => audit.record(entry),
    authenticator: apiAuthenticator({
      tokens,
      serviceToken:
        config.serviceToken === undefined
          ? undefined
          : serviceTokenAuthenticator(config.serviceToken),
      devBypass: config.devBypass,
      corsOrigins: config.corsOrigins,
    }),
    requestTimeoutMs: config.requestTimeoutMs,
  });
  const methods = bindMethods(services, interceptors);
  const openApi = openApiDocument(methods, { title: "devmesh", version });
  runners.start();

  const app: App = {
    services,
    // The other parts are told by GetSystem: a backend without them still takes jobs.
    readiness: [storageCheck(stores)],
    async close() {
      await runners.close();
      signals.close();
      await audit.flush();
      await stores.close();
    },
  };
  return {
    app,
    methods,
    interceptors,
    routes: [
      openApiHandler(openApi),
      createOpenAiHandler(methods),
      createConsoleHandler(config.consoleDir),
    ],
    upgrade: createJobSocket({ methods, logger, pingIntervalMs: config.wsPingIntervalMs }),
    tokens,
  };
}

function storageCheck(stores: Stores): ReadinessCheck {
  return {
    name: "storage",
    check: async () => {
      await stores.jobs.ping();
      return "the database answers";
    },
  };
}

function openApiHandler(document: unknown): HttpHandler {
  return (exchange) => {
    if (exchange.url.pathname !== "/openapi.json" || exchange.verb !== "GET") return false;
    exchange.json(200, document);
    return true;
  };
}
