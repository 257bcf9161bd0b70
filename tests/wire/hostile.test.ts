import { connect as connectHttp2 } from "node:http2";
import { Code } from "@connectrpc/connect";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import type { Problem } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { failureFrom } from "./all-ways.ts";
import { fetchSender } from "./http-senders.ts";
import { openRaw } from "./raw-socket.ts";
import { within } from "./waiting.ts";
import { rawGrpcWay } from "./ways-grpc.ts";
import { connectJsonWay } from "./ways-http.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const limit = 256 * 1024;
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const inferPath = "/v1/llm/infer";
const grpcPath = "/devmesh.vm.v1.SandboxService/ProbeHost";

for (const engine of engines) {
  describe(`hostile input, HTTP/2 by ${engine}`, () => {
    let bed: Bed;
    before(async () => {
      bed = await startBed(engine, {
        maxMessageBytes: limit,
        bounds: { firstBytesTimeoutMs: 200 },
      });
    });
    after(() => bed.end());
    afterEach(async () => {
      const { status } = await fetch(`${bed.url}/v1/host`);
      expect(status, "REST afterwards").to.equal(200);
      const grpc = rawGrpcWay(bed.port);
      const { host } = await grpc.unary(SandboxService.method.probeHost, {});
      grpc.close();
      expect(host, "gRPC afterwards").to.equal("fake");
    });

    const garbage = [
      ["bytes that are no protocol", "\u0000\u0001\u00ff\u00fe garbage\r\n\r\n"],
      ["a TLS hello", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003"],
      ["a preface and then garbage", `${preface}\u00ff\u00ff\u00ff\u00ff garbage garbage`],
      ["a preface that turns wrong", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n more and more of it"],
      ["a header without a name", "GET /v1/host HTTP/1.1\r\n: x\r\n\r\n"],
      ["two lengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"],
    ] as const;
    for (const [name, bytes] of garbage) {
      it(`ends a connection that sends ${name}`, async () => {
        const raw = await openRaw(bed.port);
        raw.socket.write(bytes, "latin1");
        await raw.closed();
      });
    }

    for (const [name, bytes] of [
      ["nothing", ""],
      ["half a preface", "PRI * HT"],
    ] as const) {
      it(`ends a connection that sends ${name} and falls silent`, async () => {
        const raw = await openRaw(bed.port);
        if (bytes !== "") raw.socket.write(bytes);
        expect(await raw.closed()).to.equal("");
      });
    }

    it("answers HTTP/1.0 and ends the connection", async () => {
      const raw = await openRaw(bed.port);
      raw.socket.write("GET /livez HTTP/1.0\r\n\r\n");
      expect(await raw.closed()).to.match(/^HTTP\/1\.1 200 OK[\s\S]*"ok"/);
    });

    const calls = ["/devmesh.vm.v1.SandboxService/ProbeHost", "/v1/host", "/livez", "/nowhere"];
    for (const [name, head] of [
      ["no Host", ""],
      ["an empty Host", "Host:\r\n"],
      ["a Host that is none", "Host: [\r\n"],
      ["a Host of two words", "Host: a b\r\n"],
    ] as const) {
      it(`answers a request with ${name}, and goes on`, async () => {
        for (const path of calls) {
          const raw = await openRaw(bed.port);
          const type = "Content-Type: application/json\r\nContent-Length: 2";
          raw.socket.write(`POST ${path} HTTP/1.0\r\n${head}${type}\r\n\r\n{}`);
          expect(await raw.closed(), path).to.match(/^HTTP\/1\.1 (200|400|404|405) /);
        }
      });
    }

    it("refuses a header of 1 MB", async () => {
      const raw = await openRaw(bed.port);
      raw.socket.write(`GET /livez HTTP/1.1\r\nHost: x\r\nX-Big: ${"x".repeat(1_000_000)}\r\n\r\n`);
      expect(await raw.closed()).to.match(/^(HTTP\/1\.1 431 |$)/);
    });

    it("refuses a body over the limit with 413, by its length and by its chunks", async () => {
      const body = "x".repeat(limit + 1);
      const headers = { "content-type": "application/json" };
      const whole = { method: "POST", headers, body };
      const chunks = new ReadableStream({
        pull(controller) {
          controller.enqueue(Buffer.alloc(limit));
          controller.enqueue(Buffer.alloc(limit));
          controller.close();
        },
      });
      const chunked = { method: "POST", headers, body: chunks, duplex: "half" } as const;
      for (const init of [whole, chunked]) {
        const res = await fetch(`${bed.url}${inferPath}`, init);
        expect(res.status).to.equal(413);
        const problem = (await res.json()) as Problem;
        expect(problem.reason).to.equal("TOO_LARGE");
        expect(problem.metadata).to.deep.equal({ limit_bytes: String(limit) });
      }
    });

    it("refuses a gRPC message over the limit with RESOURCE_EXHAUSTED", async () => {
      const input = "x".repeat(limit + 1);
      for (const way of [rawGrpcWay(bed.port), connectJsonWay("", fetchSender(bed.url))]) {
        const call = way.unary(InferService.method.infer, { model: "m", input });
        // The engines refuse this before a call of ours begins: there is no reason with it.
        expect((await failureFrom(call)).code).to.equal(Code.ResourceExhausted);
        way.close();
      }
    });

    it("does not let a body that never ends hold up others", async () => {
      const raw = await openRaw(bed.port);
      raw.socket.write(`POST ${inferPath} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{`);
      const others = Array.from({ length: 10 }, () => fetch(`${bed.url}/v1/host`));
      for (const res of await within(Promise.all(others), "the others' answers")) {
        expect(res.status).to.equal(200);
        await res.arrayBuffer();
      }
      expect(raw.text()).to.equal("");
      raw.socket.write('"model":1');
      await raw.says("HTTP/1.1 400 ");
      raw.socket.destroy();
    });

    const bodies: [string, number[]][] = [
      ["a frame that promises more than comes", [0, 0, 0, 9, 9, 1, 2]],
      ["a compressed frame without an encoding", [1, 0, 0, 0, 1, 0]],
      ["a message that is no protobuf", [0, 0, 0, 0, 3, 0xff, 0xff, 0xff]],
      ["no message at all", []],
      ["two messages for a unary call", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ];
    for (const [name, bytes] of bodies) {
      it(`refuses a gRPC call with ${name}`, async () => {
        const head = await callHttp2(bed, "application/grpc", Buffer.from(bytes));
        expect(head.status, JSON.stringify(head)).to.be.oneOf([200, undefined]);
        expect(head.grpcStatus, JSON.stringify(head)).to.not.be.oneOf([0, Code.Unknown]);
      });
    }

    it("refuses a content type that it does not speak", async () => {
      const head = await callHttp2(bed, "text/plain", Buffer.from("hello"));
      expect(head.status).to.be.oneOf([404, 415]);
      const post = { method: "POST", body: "x", headers: { "content-type": "text/plain" } };
      const res = await fetch(`${bed.url}${grpcPath}`, post);
      expect(res.status).to.be.oneOf([404, 415]);
    });

    it("refuses a method that a route does not take, and says which it takes", async () => {
      const res = await fetch(`${bed.url}/v1/host`, { method: "DELETE" });
      expect(res.status).to.equal(405);
      expect(res.headers.get("allow")).to.equal("GET, HEAD");
      const { detail, reason } = (await res.json()) as Problem;
      expect(reason).to.equal("METHOD_NOT_ALLOWED");
      expect(detail).to.equal("/v1/host takes GET, HEAD");
      expect((await fetch(`${bed.url}${grpcPath}`, { method: "PUT" })).status).to.be.within(
        404,
        405,
      );
    });

    it("refuses to upgrade where nothing can be upgraded", async () => {
      const raw = await openRaw(bed.port);
      const upgrade = "Connection: Upgrade\r\nUpgrade: websocket";
      raw.socket.write(`GET /v1/host HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n\r\n`);
      expect(await raw.closed()).to.not.contain("101");
    });
  });
}

/** Sends one POST over HTTP/2 and answers what came of it. */
async function callHttp2({ url }: Bed, type: string, body: Buffer) {
  const session = connectHttp2(url);
  session.on("error", () => {});
  const headers = { ":method": "POST", ":path": grpcPath, "content-type": type, te: "trailers" };
  const stream = session.request(headers);
  let status: number | undefined;
  let grpcStatus: number | undefined;
  const note = (head: Record<string, unknown>) => {
    if (head["grpc-status"] !== undefined) grpcStatus = Number(head["grpc-status"]);
  };
  stream.on("response", (head) => {
    status = head[":status"];
    note(head);
  });
  stream.on("trailers", note);
  stream.on("error", () => {});
  stream.resume();
  stream.end(body);
  await within(new Promise((resolve) => stream.once("close", resolve)), "the end of the call");
  session.destroy();
  return { status, grpcStatus };
}
