/** The public services over the fake's parts; the whole contract, in memory. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { FakeDevmesh } from "./fake-devmesh.ts";
import { callerKey } from "./fake-interceptors.ts";

/** Registers every public service. */
export function createFakeRoutes(fake: FakeDevmesh): (router: ConnectRouter) => void {
  return (router) => {
    registerJobs(router, fake);
    registerRest(router, fake);
  };
}

function registerJobs(router: ConnectRouter, fake: FakeDevmesh): void {
  const { jobs, faults } = fake;
  const keyOf = (field: string, context: HandlerContext) =>
    context.requestHeader.get("idempotency-key") ?? field;
  router.service(JobService, {
    createJob: ({ spec, idempotencyKey }, context) => {
      const { id: owner } = context.values.get(callerKey);
      const made = jobs.accept(
        spec ?? create(JobSpecSchema),
        keyOf(idempotencyKey, context),
        owner,
      );
      // The job is in the book, the answer gets lost: the case that keys are for.
      if (faults.loseAnswers > 0) {
        faults.loseAnswers--;
        throw new DevmeshError("UNAVAILABLE", "the answer got lost");
      }
      return { jobId: made.job.id, ...made };
    },
    getJob: ({ id }) => ({
      job: jobs.entry(id).job,
      fencedWrites: jobs.fencedWrites.get(id) ?? [],
    }),
    explainJob: ({ id }) => {
      const { status } = jobs.entry(id).job;
      const blocks = jobs.blocks.get(id) ?? [];
      return { status, clear: blocks.length === 0, blocks };
    },
    retryJobs: (request) => jobs.retryMany(request),
    listJobs: ({ pageSize, pageToken, statuses, type }) => {
      const start = Number(pageToken || 0);
      const size = pageSize || 50;
      const matching = jobs
        .all()
        .filter((job) => statuses.length === 0 || statuses.includes(job.status))
        .filter((job) => type === "" || job.type === type);
      const nextPageToken = start + size < matching.length ? String(start + size) : "";
      return { jobs: matching.slice(start, start + size), nextPageToken };
    },
    cancelJob: ({ id }) => ({ job: jobs.cancel(id) }),
    retryJob: ({ id, idempotencyKey }, context) => {
      const { job } = jobs.entry(id);
      if (job.result === undefined) throw new DevmeshError("WRONG_STATE", "it has not ended");
      const key = keyOf(idempotencyKey, context);
      const made = jobs.accept(job.spec ?? create(JobSpecSchema), key, job.owner);
      return { jobId: made.job.id, ...made };
    },
    listJobEvents: ({ id, from, pageSize }) => {
      const { job, events } = jobs.entry(id);
      const start = Math.max(1, from);
      const page = events.slice(start - 1, start - 1 + (pageSize || 200));
      const next = start + page.length;
      return { events: page, nextFrom: job.result && next > events.length ? 0 : next };
    },
    async *watchJob({ id, from }, context) {
      faults.watches.push(from);
      yield { step: { case: "keepalive" as const, value: {} } };
      let sent = 0;
      for await (const event of jobs.watch(id, from, context.signal)) {
        if (faults.cutWatchAfter !== undefined && sent >= faults.cutWatchAfter) {
          faults.cutWatchAfter = undefined;
          throw new DevmeshError("DRAINING", "the server is shutting down");
        }
        if (faults.endWatchAfter !== undefined && sent >= faults.endWatchAfter) {
          faults.endWatchAfter = undefined;
          return;
        }
        yield* steps(event, faults.dropSeq, faults.doubleSeq);
        sent++;
      }
    },
  });
}

function* steps(event: JobEvent, dropSeq?: number, doubleSeq?: number) {
  const step = { step: { case: "event" as const, value: event } };
  if (event.seq === dropSeq) return;
  yield step;
  if (event.seq === doubleSeq) yield step;
}

function registerRest(router: ConnectRouter, fake: FakeDevmesh): void {
  const { blobs, tokens, documents } = fake;
  router.service(BlobService, {
    putBlob: async (pieces) => {
      let sha256 = "";
      const chunks: Uint8Array[] = [];
      for await (const piece of pieces) {
        sha256 ||= piece.sha256;
        chunks.push(piece.data);
      }
      blobs.puts++;
      const content = Buffer.concat(chunks);
      return { sha256: blobs.put(content, sha256), sizeBytes: BigInt(content.length) };
    },
    async *getBlob({ sha256 }) {
      const content = blobs.get(sha256);
      for (let i = 0; i < content.length; i += 4096) yield { data: content.subarray(i, i + 4096) };
    },
    statBlob: ({ sha256 }) => {
      const content = blobs.find(sha256);
      return { exists: content !== undefined, sizeBytes: BigInt(content?.length ?? 0) };
    },
  });
  router.service(ContextService, {
    searchContext: ({ q, topK }) => {
      const found = [...documents.values()].filter((document) => document.text.includes(q));
      const items = found.slice(0, topK || 10).map(({ source, text }, i) => ({
        chunkId: `c${i}`,
        source,
        collection: "notes",
        startLine: 1,
        endLine: 1,
        snippet: text.slice(0, 200),
        score: 1 / (i + 1),
        keywordRank: i + 1,
      }));
      return { items, receipt: { arms: ["keyword"], degraded: "no embedding model" } };
    },
    ingestContext: (request) => ({
      outcomes: request.documents.map((document) => {
        const before = documents.get(document.source);
        documents.set(document.source, document);
        const state = before === undefined ? "added" : "updated";
        return {
          source: document.source,
          state: before?.text === document.text ? "unchanged" : state,
          chunks: 1,
        };
      }),
    }),
    buildContextPack: ({ task, budgetTokens }) => ({
      pack: { text: `context for ${task}`, tokens: 3, budgetTokens, tokenizer: "words" },
    }),
  });
  const route = { provider: "scripted", model: "m", local: true, why: "the only one" };
  const usage = { inputTokens: 2n, outputTokens: 3n, exact: true };
  router.service(InferService, {
    infer: ({ model, input }) => {
      if (model === "none") throw new DevmeshError("MODEL_NOT_FOUND", "no provider serves none");
      return { text: `echo: ${input}`, finishReason: "stop", usage, route };
    },
    async *streamInfer({ model, input }) {
      if (model === "none") throw new DevmeshError("MODEL_NOT_FOUND", "no provider serves none");
      yield { delta: { piece: { case: "route" as const, value: route } } };
      for (const word of `echo: ${input}`.split(/(?= )/)) {
        yield { delta: { piece: { case: "text" as const, value: word } } };
      }
      yield { delta: { piece: { case: "end" as const, value: { finishReason: "stop", usage } } } };
    },
    listModels: () => ({
      models: [{ provider: "scripted", name: "m", roles: ["chat"], local: true }],
      providers: [{ name: "scripted", local: true, healthy: true, models: 1 }],
    }),
  });
  router.service(TokenService, {
    createToken: ({ name, scopes, ttl, owner }) => {
      const expiry = ttl && timestampFromMs(Date.now() + Number(ttl.seconds) * 1000);
      return tokens.make(name, scopes, expiry, owner || "owner");
    },
    listTokens: () => ({ tokens: tokens.all() }),
    revokeToken: ({ id }) => ({ token: tokens.revoke(id) }),
    rotateToken: ({ id }) => tokens.rotate(id),
    createConsoleLink: () => ({ secret: tokens.makeLink(), expireTime: timestampNow() }),
    redeemConsoleLink: ({ secret }) => tokens.redeem(secret),
    whoAmI: (_, context) => ({ token: context.values.get(callerKey) }),
  });
  fake.queue.register(router);
  router.service(AuditService, {
    listAuditEvents: () => ({
      events: [{ id: 1n, time: timestampNow(), actor: "dev", action: "job.create", outcome: "ok" }],
    }),
    verifyAudit: ({ expectedHash }) =>
      expectedHash === ""
        ? { intact: true, rows: 1n, headHash: "a".repeat(64) }
        : { intact: false, rows: 1n, brokenId: 2n, detail: "row 2 does not fit" },
  });
  router.service(SystemService, {
    getSystem: () => ({
      version: "0.1.0",
      startTime: timestampNow(),
      parts: fake.parts.map((part) => ({ ...part })),
      features: { localLLMPreferred: true },
    }),
  });
}
