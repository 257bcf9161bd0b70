/** The public services of the fake, as far as the console calls them. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { FakeServer } from "./fake-server.ts";
import { agents, models, parts, providers, searchItems } from "./fake-world.ts";

/** Registers the services on a fake. */
export function createFakeRoutes(fake: FakeServer): (router: ConnectRouter) => void {
  return (router) => {
    registerJobs(router, fake);
    registerPlatform(router, fake);
    registerTokens(router, fake);
    registerModels(router, fake);
  };
}

function registerJobs(router: ConnectRouter, { jobs, blobs, audit }: FakeServer): void {
  router.service(JobService, {
    createJob: ({ spec, idempotencyKey }) => {
      if (spec === undefined) throw new DevmeshError("INVALID_FIELD", "spec: is required");
      const { job } = jobs.accept(spec, idempotencyKey);
      audit.push({ action: "job.create", resource: job.id, outcome: "ok" });
      jobs.play(job.id);
      return { jobId: job.id, job };
    },
    getJob: ({ id }) => ({ job: jobs.entry(id).job }),
    listJobs: ({ pageSize, pageToken, statuses, type }) => {
      const matching = jobs
        .all()
        .map(({ job }) => job)
        .filter((job) => statuses.length === 0 || statuses.includes(job.status))
        .filter((job) => type === "" || job.type === type);
      const start = Number(pageToken || 0);
      const end = start + (pageSize || 50);
      const nextPageToken = end < matching.length ? String(end) : "";
      return { jobs: matching.slice(start, end), nextPageToken };
    },
    cancelJob: ({ id }) => {
      const { job } = jobs.entry(id);
      if (job.result !== undefined) throw new DevmeshError("WRONG_STATE", "the job has ended");
      job.cancelRequested = true;
      jobs.finish(id, { outcome: JobStatus.CANCELLED, reason: "CANCELLED", message: "cancelled" });
      audit.push({ action: "job.cancel", resource: id, outcome: "ok" });
      return { job };
    },
    retryJob: ({ id, idempotencyKey }) => {
      const { spec } = jobs.entry(id).job;
      if (spec === undefined) throw new DevmeshError("INTERNAL", "the job has no spec");
      const { job } = jobs.accept(spec, idempotencyKey);
      jobs.play(job.id);
      return { jobId: job.id, job };
    },
    listJobEvents: ({ id, from, pageSize }) => {
      const { events, job } = jobs.entry(id);
      const start = Math.max(1, from);
      const page = events.slice(start - 1, start - 1 + (pageSize || 200));
      const next = start + page.length;
      return { events: page, nextFrom: job.result && next > events.length ? 0 : next };
    },
  });
  router.service(BlobService, {
    async *getBlob({ sha256 }) {
      const data = blobs.get(sha256);
      if (data === undefined) throw new DevmeshError("NOT_FOUND", "there is no such blob");
      yield { data: new Uint8Array(data) };
    },
  });
}

function registerPlatform(router: ConnectRouter, fake: FakeServer): void {
  router.service(AgentService, { listAgents: () => ({ agents: agents() }) });
  router.service(AuditService, {
    listAuditEvents: () => ({
      events: fake.audit
        .map((row, at) => ({
          ...row,
          id: BigInt(at + 1),
          time: timestampFromMs(fake.startedAtMs + at),
          actor: "tok_01jd8x2m4q6r8t0v2w4y6z8a0c",
          correlationId: `req-${4200 + at}`,
        }))
        .reverse(),
    }),
  });
  router.service(SystemService, {
    getSystem: () => ({
      version: "0.1.0",
      startTime: timestampFromMs(fake.startedAtMs),
      parts,
      features: { ...fake.features },
    }),
  });
  router.service(ContextService, {
    searchContext: ({ q, filter }) => ({
      items: searchItems.filter(
        ({ collection }) => !filter?.collections.length || filter.collections.includes(collection),
      ),
      receipt: q.includes("keyword")
        ? { arms: ["keyword"], degraded: "the embedder is loading its model" }
        : { arms: ["keyword", "vector"], embeddingModel: "embedded/minilm-l6" },
    }),
  });
}

function registerTokens(router: ConnectRouter, fake: FakeServer): void {
  const token = { id: "tok_01jd8x2m4q6r8t0v2w4y6z8a0c", name: "console", scopes: ["read:jobs"] };
  router.service(TokenService, {
    whoAmI: () => ({ token }),
    redeemConsoleLink: ({ secret }) => {
      if (!fake.links.delete(secret)) {
        throw new DevmeshError("UNAUTHENTICATED", "the link is unknown, used or too old");
      }
      return { token, secret: fake.secret };
    },
  });
}

function registerModels(router: ConnectRouter, fake: FakeServer): void {
  router.service(InferService, {
    listModels: () => ({ models, providers }),
    async *streamInfer({ input, policyOverride }) {
      const mode = policyOverride?.mode ?? "";
      fake.asked.push(mode);
      const route = {
        provider: "ollama",
        model: "llama3.2:3b",
        local: true,
        why: `the first healthy one under ${mode || "the server’s policy"}`,
      };
      yield { delta: { piece: { case: "route" as const, value: route } } };
      for (const text of [
        "You asked: ",
        input,
        ". A lease carries an epoch; ",
        "old ones are fenced.",
      ]) {
        yield { delta: { piece: { case: "text" as const, value: text } } };
      }
      const usage = { inputTokens: 12n, outputTokens: 24n, exact: true };
      yield { delta: { piece: { case: "end" as const, value: { finishReason: "stop", usage } } } };
    },
  });
}
