/** Owns the composition of a client: options, transport, nouns. */
import { createClient, type Transport } from "@connectrpc/connect";
import { createAuthInterceptor } from "./auth.ts";
import { defaultRetryPolicy } from "./backoff.ts";
import { Caller } from "./caller.ts";
import { BlobService } from "./gen/devmesh/api/v1/blob_service_pb.js";
import { JobService } from "./gen/devmesh/api/v1/job_service_pb.js";
import { createAuthorizedGet, createFetchGet, type HttpGet } from "./http-get.ts";
import { lazyClient } from "./lazy-client.ts";
import { Blobs } from "./nouns/blobs.ts";
import { Context } from "./nouns/context.ts";
import { Jobs } from "./nouns/jobs.ts";
import { Llm } from "./nouns/llm.ts";
import {
  type Agents,
  type Audit,
  createAgents,
  createAudit,
  createSystem,
  type System,
} from "./nouns/platform.ts";
import { Queue } from "./nouns/queue.ts";
import { Tokens } from "./nouns/tokens.ts";
import { checkBaseUrl, type DevmeshOptions, type TransportSetup } from "./options.ts";
import { createRetryInterceptor } from "./retry.ts";
import type { LoadSha256 } from "./sha256.ts";

/** A client of one devmesh server. It holds no state; make as many as you like. */
export interface Devmesh {
  readonly jobs: Jobs;
  readonly queue: Queue;
  readonly blobs: Blobs;
  readonly context: Context;
  readonly llm: Llm;
  readonly tokens: Tokens;
  readonly agents: Agents;
  readonly audit: Audit;
  readonly system: System;
  /** The transport below, for `createClient` with what `@devmesh/sdk/raw` has. */
  readonly transport: Transport;
}

/**
 * Makes a client over the transport that `createTransport` makes. `createGet`
 * makes what requests without a method go by; default: `fetch`.
 */
export function composeDevmesh(
  options: DevmeshOptions,
  createTransport: (setup: TransportSetup) => Transport,
  createGet: (baseUrl: string) => HttpGet = createFetchGet,
): Devmesh {
  const baseUrl = checkBaseUrl(options.baseUrl);
  const retry = { ...defaultRetryPolicy, ...options.retry };
  const setup: TransportSetup = {
    baseUrl,
    interceptors: [createRetryInterceptor(retry), createAuthInterceptor({ ...options, baseUrl })],
  };
  const transport = pickTransport(options, createTransport)(setup);
  const caller = new Caller({ timeoutMs: options.timeoutMs ?? 60_000 });
  const loadSha256 = sha256Loader(options);
  const get = createAuthorizedGet({ ...options, baseUrl }, createGet(baseUrl));
  return {
    jobs: new Jobs({
      client: createClient(JobService, transport),
      caller,
      get,
      retry,
      loadSha256,
    }),
    queue: new Queue({ client: lazyClient(services.queue, transport), caller }),
    blobs: new Blobs({ client: createClient(BlobService, transport), caller, loadSha256 }),
    context: new Context({ client: lazyClient(services.context, transport), caller }),
    llm: new Llm({ client: lazyClient(services.infer, transport), caller }),
    tokens: new Tokens({ client: lazyClient(services.token, transport), caller }),
    agents: createAgents(lazyClient(services.agent, transport), caller),
    audit: createAudit(lazyClient(services.audit, transport), caller),
    system: createSystem(lazyClient(services.system, transport), caller),
    transport,
  };
}

/** What a page that runs and watches jobs does without. */
const services = {
  agent: async () => (await import("./gen/devmesh/api/v1/agent_service_pb.js")).AgentService,
  audit: async () => (await import("./gen/devmesh/api/v1/audit_service_pb.js")).AuditService,
  context: async () => (await import("./gen/devmesh/api/v1/context_service_pb.js")).ContextService,
  infer: async () => (await import("./gen/devmesh/api/v1/infer_service_pb.js")).InferService,
  queue: async () => (await import("./gen/devmesh/api/v1/queue_service_pb.js")).QueueService,
  system: async () => (await import("./gen/devmesh/api/v1/system_service_pb.js")).SystemService,
  token: async () => (await import("./gen/devmesh/api/v1/token_service_pb.js")).TokenService,
};

function sha256Loader({ createSha256 }: DevmeshOptions): LoadSha256 {
  return async () => createSha256 ?? (await import("./portable-sha256.ts")).createPortableSha256;
}

function pickTransport(
  { transport }: DevmeshOptions,
  createTransport: (setup: TransportSetup) => Transport,
): (setup: TransportSetup) => Transport {
  if (transport === undefined) return createTransport;
  return typeof transport === "function" ? transport : () => transport;
}
