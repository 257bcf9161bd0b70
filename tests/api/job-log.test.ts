/** The raw log over HTTP: any range of the same bytes, of any attempt, to those who may read the job. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { get } from "node:http";
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { JobSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { silentLogger } from "@devmesh/mesh/log";
import { bindMethods, serve, startServer } from "@devmesh/mesh/server";
import { expect } from "chai";
import fc from "fast-check";
import { createJobLogHandler } from "../../services/api/streams/job-log.ts";
import { settled } from "../settled.ts";
import { settled as standsStill, within } from "../wire/waiting.ts";
import { Bed, trueSpec } from "./bed.ts";
import { type HandJob, HandRunner } from "./hand-runner.ts";

const sha256 = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");

describe("the raw log", function () {
  this.timeout(60_000);
  let bed: Bed;
  let runner: HandRunner;
  beforeEach(async () => {
    bed = await Bed.open();
    runner = await HandRunner.register((service) => bed.client(service));
  });
  afterEach(() => bed.close());

  async function ask(path: string, headers: Record<string, string> = {}, method = "GET") {
    const authorization = `Bearer ${bed.ownerSecret}`;
    const res = await fetch(`${await bed.url()}/v1/jobs/${path}`, {
      method,
      headers: { authorization, ...headers },
    });
    return { res, status: res.status, body: Buffer.from(await res.arrayBuffer()) };
  }

  const reasonIn = (body: Buffer): unknown => JSON.parse(String(body)).reason;

  /** Every value that a byte has, in pieces of odd sizes, on both outputs. */
  const nasty = Buffer.concat([
    Buffer.from("a\r\nb\u001b[31mred\u001b[0m\0ж"),
    Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 7) % 256)),
  ]);

  async function ended(): Promise<HandJob> {
    const job = await runner.start();
    for (let at = 0, size = 1; at < nasty.length; at += size, size = (size * 3) % 9_973) {
      await job.write({
        data: nasty.subarray(at, at + size),
        stream: at % 2 ? "stderr" : "stdout",
      });
    }
    await job.finish();
    return job;
  }

  it("is the bytes of the last attempt, under the SHA-256 that the result names", async () => {
    const { id } = await ended();
    const { res, status, body } = await ask(`${id}/log`);
    expect(status).to.equal(200);
    expect(body.equals(nasty)).to.equal(true);
    expect(Object.fromEntries(res.headers)).to.include({
      "content-type": "application/octet-stream",
      "content-length": String(nasty.length),
      "accept-ranges": "bytes",
      etag: `"${sha256(nasty)}"`,
    });
    expect(res.headers.get("x-request-id")).to.match(/^req_/);
  });

  it("gives any range of it", async () => {
    const { id } = await ended();
    const number = fc.nat({ max: nasty.length + 10 });
    const range = fc.oneof(
      fc.tuple(number, number).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
      number.map((start) => [start, undefined] as const),
      number.map((suffix) => [undefined, suffix] as const),
    );
    await fc.assert(
      fc.asyncProperty(range, async ([first, last]) => {
        const { res, status, body } = await ask(`${id}/log`, {
          range: `bytes=${first ?? ""}-${last ?? ""}`,
        });
        const start = first ?? Math.max(0, nasty.length - (last ?? 0));
        const end = first === undefined || last === undefined ? nasty.length : last + 1;
        const expected = nasty.subarray(start, end);
        if (expected.length === 0) {
          expect([status, body.length]).to.deep.equal([416, 0]);
          expect(res.headers.get("content-range")).to.equal(`bytes */${nasty.length}`);
          return;
        }
        expect(status).to.equal(206);
        expect(body.equals(expected)).to.equal(true);
        const told = `bytes ${start}-${start + expected.length - 1}/${nasty.length}`;
        expect(res.headers.get("content-range")).to.equal(told);
      }),
      { numRuns: 60 },
    );
  });

  for (const range of ["bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=2-1", "bytes=x-y"]) {
    it(`gives the whole for ${range}, which is no single range`, async () => {
      const { id } = await ended();
      const { status, body } = await ask(`${id}/log`, { range });
      expect([status, body.length]).to.deep.equal([200, nasty.length]);
    });
  }

  it("gives the rest only of the same log", async () => {
    const { id } = await ended();
    const range = "bytes=10-";
    const etag = `"${sha256(nasty)}"`;
    expect((await ask(`${id}/log`, { range, "if-range": etag })).status).to.equal(206);
    expect((await ask(`${id}/log`, { range, "if-range": '"other"' })).status).to.equal(200);
    expect((await ask(`${id}/log`, { "if-none-match": etag })).status).to.equal(304);
  });

  it("answers HEAD with GET's head", async () => {
    const { id } = await ended();
    const { res, status, body } = await ask(`${id}/log`, {}, "HEAD");
    expect([status, body.length]).to.deep.equal([200, 0]);
    expect(res.headers.get("content-length")).to.equal(String(nasty.length));
  });

  it("gives one of the two outputs", async () => {
    const job = await runner.start();
    await job.write({ data: "out1" }, { data: "err1", stream: "stderr" }, { data: "out2" });
    await job.finish();
    expect(String((await ask(`${job.id}/log?stream=stdout`)).body)).to.equal("out1out2");
    expect(String((await ask(`${job.id}/log?stream=stderr`)).body)).to.equal("err1");
    expect(String((await ask(`${job.id}/log`)).body)).to.equal("out1err1out2");
    const { status, body } = await ask(`${job.id}/log?stream=both`);
    expect([status, reasonIn(body)]).to.deep.equal([400, "INVALID_FIELD"]);
  });

  it("gives each attempt's own log, and of one that was given back what came after", async () => {
    const first = await runner.start();
    await first.write({ data: "given back" });
    await first.release();
    const again = await runner.take();
    await again.write({ data: "lost" });
    // Its runner is not heard of for longer than a lease lives.
    bed.clock.advance(60_000);
    await settled(50);
    // Longer than the wait before another attempt.
    bed.clock.advance(2_000);
    const second = await HandRunner.register((service) => bed.client(service), "run_other");
    const job = await second.take();
    await job.write({ data: "kept" });
    await job.finish();
    expect(String((await ask(`${job.id}/log`)).body)).to.equal("kept");
    expect(String((await ask(`${job.id}/log?attempt=2`)).body)).to.equal("kept");
    expect(String((await ask(`${job.id}/log?attempt=1`)).body)).to.equal("lost");
    const { status, body } = await ask(`${job.id}/log?attempt=3`);
    expect([status, reasonIn(body)]).to.deep.equal([404, "NOT_FOUND"]);
  });

  it("gives of a running job what is there, without a name for it", async () => {
    const job = await runner.start();
    await job.write({ data: "so far" });
    const { res, status, body } = await ask(`${job.id}/log`);
    expect([status, String(body), res.headers.get("etag")]).to.deep.equal([200, "so far", null]);
    await job.write({ data: ", and more" });
    const rest = await ask(`${job.id}/log`, { range: "bytes=6-" });
    expect([rest.status, String(rest.body)]).to.deep.equal([206, ", and more"]);
  });

  it("is empty where nothing was written", async () => {
    const job = await runner.start();
    await job.finish();
    expect(await ask(`${job.id}/log`)).to.deep.include({ status: 200, body: Buffer.alloc(0) });
    expect((await ask(`${job.id}/log`, { range: "bytes=0-" })).status).to.equal(416);
  });

  it("is refused as the job is", async () => {
    const { id } = await ended();
    const { secret } = await bed
      .client(TokenService)
      .createToken({ name: "weak", scopes: ["read:agents"] });
    const refusals = [
      [await ask(`${id}/log`, { authorization: `Bearer ${secret}` }), 403, "SCOPE_MISSING"],
      [await ask(`${id}/log`, { authorization: "" }), 401, "UNAUTHENTICATED"],
      [await ask("job_0/log"), 404, "NOT_FOUND"],
      [await ask("%zz/log"), 404, "NOT_FOUND"],
      [await ask(`${id}/log?attempt=0`), 400, "INVALID_FIELD"],
      [await ask(`${id}/log`, {}, "POST"), 405, "METHOD_NOT_ALLOWED"],
    ] as const;
    for (const [{ status, body }, expected, reason] of refusals) {
      expect([status, reasonIn(body)]).to.deep.equal([expected, reason]);
    }
    const { jobId } = await bed.client(JobService).createJob({ spec: trueSpec });
    expect((await ask(`${jobId}/log`)).status).to.equal(404);
  });

  it("says which methods it takes", async () => {
    const { status, body, res } = await ask("job_1/log", {}, "DELETE");
    expect([status, reasonIn(body)]).to.deep.equal([405, "METHOD_NOT_ALLOWED"]);
    expect(res.headers.get("allow")).to.equal("GET, HEAD");
  });

  it("stands in the OpenAPI document", async () => {
    const res = await fetch(`${await bed.url()}/openapi.json`);
    const { paths } = (await res.json()) as { paths: Record<string, object> };
    expect(paths["/v1/jobs/{id}/log"]).to.have.property("get");
  });
});

describe("a raw log of 96 MiB", function () {
  this.timeout(120_000);
  const events = 1_536;
  const piece = new Uint8Array(1 << 16).fill(120);

  it("is read no faster than its reader takes it", async () => {
    let reads = 0;
    let produced = 0;
    const impl = {
      getJob: () => ({
        job: create(JobSchema, { id: "job_1", attempt: 1, lastSeq: events + 1 }),
      }),
      async *watchJob({ from }: { from: number }) {
        reads += 1;
        produced = 0;
        const status = { status: JobStatus.RUNNING, attempt: 1 };
        for (let seq = from; seq <= events + 1; seq++) {
          produced += 1;
          const kind =
            seq === 1
              ? { case: "status" as const, value: status }
              : { case: "log" as const, value: { data: piece } };
          yield { step: { case: "event" as const, value: { seq, kind } } };
        }
      },
    } as unknown as ServiceImpl<typeof JobService>;
    const methods = bindMethods([serve(JobService, impl)], []);
    const server = await startServer({
      app: { services: [], readiness: [], close: async () => {} },
      methods,
      interceptors: [],
      logger: silentLogger(),
      host: "127.0.0.1",
      port: 0,
      http2: "connect",
      routes: [createJobLogHandler(methods)],
    });
    try {
      const request = get(`http://127.0.0.1:${server.port}/v1/jobs/job_1/log`);
      const [res] = await within(once(request, "response"), "the head");
      expect(Number(res.headers["content-length"])).to.equal(events << 16);
      const ahead = await standsStill(() => (reads === 2 ? produced : -1), "it stands still");
      // What the buffers between the two may hold: 32 MiB.
      expect(ahead).to.be.within(1, 512);
      let size = 0;
      for await (const chunk of res) size += (chunk as Buffer).length;
      expect([size, produced]).to.deep.equal([events << 16, events + 1]);
    } finally {
      await server.close(0);
    }
  });
});
