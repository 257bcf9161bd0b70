/** Owns the composition of a client: options, transport, nouns. */
import { createClient, type Transport } from "@connectrpc/connect";
import { createAuthInterceptor } from "./auth.ts";
import { defaultRetryPolicy } from "./backoff.ts";
import { Caller } from "./caller.ts";
import { AgentService } from "./gen/devmesh/api/v1/agent_service_pb.js";
import { AuditService } from "./gen/devmesh/api/v1/audit_service_pb.js";
import { BlobService } from "./gen/devmesh/api/v1/blob_service_pb.js";
import { ContextService } from "./gen/devmesh/api/v1/context_service_pb.js";
import { InferService } from "./gen/devmesh/api/v1/infer_service_pb.js";
import { JobService } from "./gen/devmesh/api/v1/job_service_pb.js";
import { SystemService } from "./gen/devmesh/api/v1/system_service_pb.js";
import { TokenService } from "./gen/devmesh/api/v1/token_service_pb.js";
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
import { Tokens } from "./nouns/tokens.ts";
import { checkBaseUrl, type DevmeshOptions, type TransportSetup } from "./options.ts";
import { createRetryInterceptor } from "./retry.ts";
import { createPortableSha256 } from "./sha256.ts";

/** A client of one devmesh server. It holds no state; make as many as you like. */
export interface Devmesh {
  readonly jobs: Jobs;
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

/** Makes a client over the transport that `createTransport` makes. */
export function composeDevmesh(
  options: DevmeshOptions,
  createTransport: (setup: TransportSetup) => Transport,
): Devmesh {
  const baseUrl = checkBaseUrl(options.baseUrl);
  const retry = { ...defaultRetryPolicy, ...options.retry };
  const setup: TransportSetup = {
    baseUrl,
    interceptors: [createRetryInterceptor(retry), createAuthInterceptor({ ...options, baseUrl })],
  };
  const transport = pickTransport(options, createTransport)(setup);
  const caller = new Caller({ timeoutMs: options.timeoutMs ?? 60_000 });
  const createSha256 = options.createSha256 ?? createPortableSha256;
  return {
    jobs: new Jobs({ client: createClient(JobService, transport), caller, retry, createSha256 }),
    blobs: new Blobs({ client: createClient(BlobService, transport), caller, createSha256 }),
    context: new Context({ client: createClient(ContextService, transport), caller }),
    llm: new Llm({ client: createClient(InferService, transport), caller }),
    tokens: new Tokens({ client: createClient(TokenService, transport), caller }),
    agents: createAgents(createClient(AgentService, transport), caller),
    audit: createAudit(createClient(AuditService, transport), caller),
    system: createSystem(createClient(SystemService, transport), caller),
    transport,
  };
}

function pickTransport(
  { transport }: DevmeshOptions,
  createTransport: (setup: TransportSetup) => Transport,
): (setup: TransportSetup) => Transport {
  if (transport === undefined) return createTransport;
  return typeof transport === "function" ? transport : () => transport;
}
