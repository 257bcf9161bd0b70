/** The backend's composition root: plain `new`, in order. */
import { createClient, type Transport } from "@connectrpc/connect";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { BackupService } from "@devmesh/gen/devmesh/api/v1/backup_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { QueueService } from "@devmesh/gen/devmesh/api/v1/queue_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { ContextService as ContextPlane } from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import type { Logger } from "@devmesh/mesh/log";
import { openApiDocument } from "@devmesh/mesh/rest";
import type { Clock, Ids } from "@devmesh/mesh/runtime";
import {
  type App,
  bindMethods,
  createAdmission,
  type ServerOptions,
  serve,
} from "@devmesh/mesh/server";
import { AgentServiceImpl } from "./agents/agent-service.ts";
import { Agents } from "./agents/agents.ts";
import { AuditLog } from "./audit/audit-log.ts";
import { AuditServiceImpl } from "./audit/audit-service.ts";
import { BackupServiceImpl } from "./backup/backup-service.ts";
import { Backups } from "./backup/backups.ts";
import { BlobServiceImpl } from "./blobs/blob-service.ts";
import type { ApiConfig } from "./config.ts";
import { createConsoleHandler } from "./console/console.ts";
import { ContextServiceImpl } from "./context/context-service.ts";
import { contracts, methodNames } from "./contracts.ts";
import { createOpenAiHandler } from "./dialects/openai.ts";
import { ChatServiceImpl } from "./infer/chat-service.ts";
import { InferServiceImpl } from "./infer/infer-service.ts";
import { JobServiceImpl } from "./jobs/job-service.ts";
import { JobSignals } from "./jobs/job-signals.ts";
import { JobWatch } from "./jobs/job-watch.ts";
import { Jobs } from "./jobs/jobs.ts";
import { RateLimits } from "./limits/rate-rules.ts";
import { openApiHandler } from "./openapi.ts";
import { createPublicDoor } from "./public-door.ts";
import { Queue } from "./queue/queue.ts";
import { QueueServiceImpl } from "./queue/queue-service.ts";
import { RunnerServiceImpl } from "./runners/runner-service.ts";
import { Runners } from "./runners/runners.ts";
import { followLogLevel } from "./settings/log-level.ts";
import { HotSettings } from "./settings/settings.ts";
import { settingsOf } from "./settings/settings-defaults.ts";
import { openStores } from "./stores.ts";
import { createJobLogHandler, jobLogPaths } from "./streams/job-log.ts";
import { createJobSocket } from "./streams/job-socket.ts";
import { LogRetention } from "./streams/retention.ts";
import { noSocketHandler } from "./streams/socket-request.ts";
import { auditCheck, modelsCheck, planeCheck, storageCheck } from "./system/system-parts.ts";
import { SystemServiceImpl } from "./system/system-service.ts";
import { GuessLimiter } from "./tokens/guess-limiter.ts";
import { scopesOf } from "./tokens/scopes.ts";
import { TokenServiceImpl } from "./tokens/token-service.ts";
import { TokenWatch } from "./tokens/token-watch.ts";
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
  /** Sets the level of the log when the settings change it. Default: of `logger`. */
  readonly setLogLevel?: (level: string) => void;
}

/** A built backend: the app, and how the mesh shall serve it. */
export interface BuiltApi
  extends Pick<
    ServerOptions,
    "app" | "methods" | "interceptors" | "authenticator" | "routes" | "upgrade"
  > {
  readonly tokens: Tokens;
}

/** Builds the backend. Throws if its store cannot be opened. */
export async function buildApi(options: ApiOptions): Promise<BuiltApi> {
  const { config, logger, clock, ids, version, mcp, inference, setLogLevel } = options;
  const stores = await openStores({
    storageUrl: config.storageUrl,
    dataDir: config.dataDir,
    clock,
    maxBlobBytes: config.maxBlobBytes,
    warn: (text) => logger.warn(text),
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
    onEnd: (id) => void tokenWatch.look(id),
  });
  const tokenWatch = new TokenWatch({ tokens, clock, logger });
  const settings = await HotSettings.open({
    store: stores.settings,
    defaults: settingsOf(config),
    known: {
      methods: new Set(contracts.flatMap(methodNames)),
      features: new Set(Object.keys(config.features)),
    },
    clock,
    logger,
  });
  const rates = new RateLimits({ exempt: [RunnerService, SystemService.method.updateSettings] });
  settings.onChange((now) => rates.set(now));
  followLogLevel(settings, { initial: config.logLevel, logger, setLogLevel });
  const features = (name: string) => settings.feature(name);
  const deploymentMode = () => settings.current.providerPolicy ?? "";
  const agents = new Agents({ store: stores.agents, clock, leaseTtlMs });
  const queue = new Queue({ store: stores.jobs, clock, maxQueued: () => settings.maxQueued() });
  const jobs = new Jobs({ store: stores.jobs, blobs: stores.blobs, agents, queue, ids, features });
  const signals = new JobSignals(stores.jobs, clock);
  const { wsPingIntervalMs: keepaliveMs, slowReaderMs } = config;
  const watch = new JobWatch({ store: stores.jobs, signals, clock, keepaliveMs, slowReaderMs });
  const retention = new LogRetention({
    store: stores.jobs,
    clock,
    logger,
    retentionDays: () => settings.logRetentionDays(),
  });
  const runners = new Runners({
    store: stores.jobs,
    signals,
    agents,
    tokens,
    audit: stores.audit,
    clock,
    logger,
    leaseTtlMs,
    // An ask for work is answered well before its deadline cuts it off.
    maxWaitMs: config.requestTimeoutMs / 2,
  });
  const { snapshot, blobs } = stores;
  const backups = new Backups({ snapshot, blobs, clock, version });
  const audit = new AuditLog({ store: stores.audit, logger, clock });
  const plane = createClient(ContextPlane, mcp);
  const chat = createClient(ChatService, inference);
  const models = createClient(ModelService, inference);
  const startedAtMs = clock.now();
  const storage = storageCheck(stores.jobs);
  const auditing = auditCheck(audit);
  const parts = [storage, auditing, planeCheck(plane), modelsCheck(models)];

  const services = [
    serve(JobService, new JobServiceImpl({ jobs, store: stores.jobs, watch })),
    serve(QueueService, new QueueServiceImpl({ queue })),
    serve(BlobService, new BlobServiceImpl({ store: stores.blobs })),
    serve(ContextService, new ContextServiceImpl({ plane })),
    serve(InferService, new InferServiceImpl({ chat, models, deploymentMode })),
    serve(ChatService, new ChatServiceImpl({ chat, deploymentMode })),
    serve(TokenService, new TokenServiceImpl({ tokens, guesses: new GuessLimiter({ clock }) })),
    serve(AgentService, new AgentServiceImpl({ agents })),
    serve(AuditService, new AuditServiceImpl({ store: stores.audit, log: audit })),
    serve(BackupService, new BackupServiceImpl({ backups })),
    serve(SystemService, new SystemServiceImpl({ version, startedAtMs, settings, parts, agents })),
    serve(RunnerService, new RunnerServiceImpl({ runners })),
  ];
  const { authenticator, interceptors } = createPublicDoor({
    ...{ config, logger, clock, ids, stores, tokens, tokenWatch, rates, features },
    audit: (entry) => audit.record(entry),
  });
  const methods = bindMethods(services, interceptors);
  const openApi = openApiDocument(methods, { title: "devmesh", version }, jobLogPaths);
  runners.start();
  settings.start();
  retention.start();

  const app: App = {
    services,
    // The other parts are told by GetSystem: a backend without them still takes jobs.
    readiness: [storage, auditing],
    async close() {
      await runners.close();
      await retention.close();
      await tokenWatch.close();
      await settings.close();
      signals.close();
      await audit.close();
      await stores.close();
    },
  };
  return {
    app,
    methods,
    interceptors,
    authenticator,
    routes: [
      openApiHandler(openApi),
      createOpenAiHandler(methods, createAdmission(authenticator)),
      createJobLogHandler(methods),
      noSocketHandler,
      createConsoleHandler(config.consoleDir),
    ],
    upgrade: createJobSocket({ methods, logger, pingIntervalMs: keepaliveMs, slowReaderMs }),
    tokens,
  };
}
