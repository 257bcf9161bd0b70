/** A token that ends takes its open streams with it: here at once, on other replicas soon after. */
import { once } from "node:events";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { bearerInterceptor } from "@devmesh/mesh/interceptors";
import { SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { Client } from "pg";
import { WebSocket as Socket } from "ws";
import { Bed, trueSpec } from "../api/bed.ts";
import { postgresUrl } from "../conformance/store-places.ts";
import { settled } from "../settled.ts";
import { leaseOf } from "./callers.ts";

/** A stream that has begun; `end` tells the reason it ended for. */
interface Open {
  readonly end: Promise<string>;
}

type Opener = (url: string, jobId: string, secret: string) => Promise<Open>;

function watchOver(transportOf: (url: string, secret: string) => Transport): Opener {
  return async (url, jobId, secret) => {
    const jobs = createClient(JobService, transportOf(url, secret));
    return begun(jobs.watchJob({ id: jobId }));
  };
}

/** Reads the first message, and the rest in the background. */
async function begun(messages: AsyncIterable<unknown>): Promise<Open> {
  const reader = messages[Symbol.asyncIterator]();
  await reader.next();
  const rest = async () => {
    try {
      while ((await reader.next()).done !== true);
      return "ok";
    } catch (error) {
      return toDevmeshError(error).reason;
    }
  };
  return { end: rest() };
}

const openers: Record<string, Opener> = {
  Connect: watchOver((baseUrl, secret) =>
    createConnectTransport({
      ...{ baseUrl, httpVersion: "1.1", interceptors: [bearerInterceptor(secret)] },
    }),
  ),

  gRPC: watchOver((baseUrl, secret) =>
    createGrpcTransport({ baseUrl, interceptors: [bearerInterceptor(secret)] }),
  ),

  SSE: async (url, jobId, secret) => {
    const headers = { accept: "text/event-stream", authorization: `Bearer ${secret}` };
    const res = await fetch(`${url}/v1/jobs/${jobId}/events`, { headers });
    expect(res.status).to.equal(200);
    return {
      end: res.text().then((text) => /event: error\n.*"reason":"(\w+)"/.exec(text)?.[1] ?? "ok"),
    };
  },

  WebSocket: async (url, jobId, secret) => {
    const headers = { authorization: `Bearer ${secret}` };
    const at = `${url.replace("http", "ws")}/v1/stream/${jobId}`;
    const socket = new Socket(at, ["devmesh.v1"], { headers });
    const closed = once(socket, "close") as Promise<[number, Buffer]>;
    await once(socket, "message");
    return { end: closed.then(([code, reason]) => `${code === 1008 ? "" : code}${reason}`) };
  },
};

const scopes = ["read:jobs", "write:jobs"];

describe("a token that ends", function () {
  this.timeout(60_000);

  describe("on the replica that ended it, with no second going by", () => {
    let bed: Bed;
    let secret: string;
    let tokenId: string;
    let jobId: string;
    beforeEach(async () => {
      bed = await Bed.open();
      const made = await bed.client(TokenService).createToken({ name: "x", scopes });
      secret = made.secret;
      tokenId = made.token?.id ?? "";
      ({ jobId } = await bed.client(JobService, secret).createJob({ spec: trueSpec }));
    });
    afterEach(() => bed.close());

    for (const [protocol, open] of Object.entries(openers)) {
      it(`ends its streams: ${protocol}`, async () => {
        const url = await bed.url();
        const stream = await open(url, jobId, secret);
        const other = await open(url, jobId, bed.ownerSecret);
        await bed.client(TokenService).revokeToken({ id: tokenId });
        expect(await stream.end).to.equal("UNAUTHENTICATED");
        await bed.client(JobService).cancelJob({ id: jobId });
        expect(await other.end, "another token's stream").to.be.oneOf(["ok", "1000"]);
      });
    }

    it("ends an upload in the midst of it", async () => {
      const half = Promise.withResolvers<void>();
      async function* chunks() {
        yield { sha256: "0".repeat(64), data: Buffer.from("half") };
        half.resolve();
        await new Promise(() => {});
      }
      const upload = bed.client(BlobService, secret).putBlob(chunks());
      const reason = upload.then(
        () => "ok",
        (error: unknown) => toDevmeshError(error).reason,
      );
      await half.promise;
      await settled();
      await bed.client(TokenService).revokeToken({ id: tokenId });
      expect(await reason).to.equal("UNAUTHENTICATED");
    });

    it("ends the streams of the old secret where it is rotated without grace", async () => {
      const stream = await begun(bed.client(JobService, secret).watchJob({ id: jobId }));
      await bed.client(TokenService).rotateToken({ id: tokenId });
      expect(await stream.end).to.equal("UNAUTHENTICATED");
    });

    it("ends the streams of the old secret when the grace is over, and those of the new never", async () => {
      const stream = await begun(bed.client(JobService, secret).watchJob({ id: jobId }));
      const grace = { seconds: 60n };
      const rotated = await bed.client(TokenService).rotateToken({ id: tokenId, grace });
      const jobs = bed.client(JobService, rotated.secret);
      const fresh = await begun(jobs.watchJob({ id: jobId }));
      bed.clock.advance(59_000);
      await settled();
      expect(await Promise.race([stream.end, settled().then(() => "open")])).to.equal("open");
      bed.clock.advance(1_000);
      expect(await stream.end).to.equal("UNAUTHENTICATED");
      await jobs.cancelJob({ id: jobId });
      expect(await fresh.end).to.equal("ok");
    });

    it("ends its streams when its time is over", async () => {
      const ttl = { seconds: 10n };
      const short = await bed.client(TokenService).createToken({ name: "short", scopes, ttl });
      const stream = await begun(bed.client(JobService, short.secret).watchJob({ id: jobId }));
      bed.clock.advance(9_000);
      await settled();
      bed.clock.advance(1_000);
      expect(await stream.end).to.equal("UNAUTHENTICATED");
    });

    it("asks for nothing when no stream is open", async () => {
      const sleeping = bed.clock.sleeping;
      const abort = new AbortController();
      const options = { signal: abort.signal };
      const jobs = bed.client(JobService, secret);
      const stream = await begun(jobs.watchJob({ id: jobId }, options));
      abort.abort();
      expect(await stream.end).to.equal("CANCELLED");
      await settled();
      expect(bed.clock.sleeping).to.equal(sleeping);
    });
  });

  it("of a job ends with the job, and so do the streams of the job's own calls", async () => {
    const gate = Promise.withResolvers<void>();
    const bed = await Bed.open({
      chat: {
        async *streamChat() {
          yield { delta: { piece: { case: "text" as const, value: "a" } } };
          await gate.promise;
        },
      },
    });
    try {
      const runner = bed.client(RunnerService);
      const lease = await leaseOf(bed);
      if (lease.job === undefined) throw new Error("nothing was leased");
      const request = { model: "m", messages: [{ role: "user", content: "hi" }] };
      const chat = bed.client(ChatService, lease.jobToken);
      const stream = await begun(chat.streamChat({ request }));
      await runner.finishJob({
        lease: { jobId: lease.job.id, epoch: lease.epoch },
        seq: lease.nextSeq,
        result: { outcome: JobStatus.SUCCEEDED },
      });
      expect(await stream.end).to.equal("UNAUTHENTICATED");
    } finally {
      gate.resolve();
      await bed.close();
    }
  });

  describe("on another replica over the same Postgres", () => {
    let replicas: [Bed, Bed] | undefined;

    before(async function () {
      const server = await postgresUrl(this);
      const admin = new Client({ connectionString: server });
      await admin.connect();
      await admin.query("CREATE DATABASE replicas");
      await admin.end();
      const config = { storageUrl: new URL("/replicas", server).href };
      const clock = new SystemClock();
      replicas = [await Bed.open({ config, clock }), await Bed.open({ config, clock })];
    });
    after(async () => {
      for (const bed of replicas ?? []) await bed.close();
    });

    for (const [protocol, open] of Object.entries(openers)) {
      it(`is refused at the next call, and its streams end: ${protocol}`, async () => {
        if (replicas === undefined) throw new Error("not open");
        const [here, there] = replicas;
        const made = await here.client(TokenService).createToken({ name: "x", scopes });
        const { secret } = made;
        const { jobId } = await here.client(JobService, secret).createJob({ spec: trueSpec });
        const stream = await open(await there.url(), jobId, secret);
        await here.client(TokenService).revokeToken({ id: made.token?.id ?? "" });
        const call = there.client(JobService, secret).getJob({ id: jobId });
        expect(
          await call.then(
            () => "ok",
            (error) => toDevmeshError(error).reason,
          ),
        ).to.equal("UNAUTHENTICATED");
        expect(await stream.end).to.equal("UNAUTHENTICATED");
      });
    }
  });
});
