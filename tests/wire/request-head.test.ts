/** Faults of a request's head and of its packing: the same in every protocol that can tell them. */
import { connect as connectHttp2 } from "node:http2";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import { InferRequestSchema, InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { fetchSender, http2Sender } from "./http-senders.ts";
import { openRaw } from "./raw-socket.ts";
import { refusedBy, refusedIn } from "./refused-answer.ts";
import { until } from "./waiting.ts";
import { type Bed, startBed } from "./wire-bed.ts";

const limit = 100_000;
const path = "/v1/llm/infer";
const rpc = "/devmesh.api.v1.InferService/Infer";
const body = JSON.stringify({ input: "hi" });
const json = { "content-type": "application/json" };

describe("a request's head", () => {
  let bed: Bed;
  before(async () => {
    bed = await startBed("connect", { maxMessageBytes: limit });
  });
  after(() => bed.end());

  const twice = "Idempotency-Key: a\r\nidempotency-key: b";

  it("may not have two idempotency keys: REST", async () => {
    const raw = await openRaw(bed.port);
    const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 14`;
    raw.socket.write(`${head}\r\n${twice}\r\n\r\n${body}`);
    const { status, problem } = refusedIn(await raw.closed());
    expect([status, problem.reason]).to.deep.equal([400, "INVALID_FIELD"]);
    expect(problem.metadata).to.deep.equal({ field: "idempotencyKey" });
  });

  it("may not have two idempotency keys: Connect", async () => {
    const raw = await openRaw(bed.port);
    const head = `POST ${rpc} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 14`;
    raw.socket.write(`${head}\r\nContent-Type: application/json\r\n${twice}\r\n\r\n${body}`);
    const said = await raw.closed();
    expect(said)
      .to.match(/^HTTP\/1\.1 400 /)
      .and.include('"field":"idempotencyKey"');
  });

  it("may not have two idempotency keys, nor be too large: gRPC", async () => {
    for (const [value, reason] of [
      [["a", "b"], "INVALID_FIELD"],
      [["k".repeat(20_000)], "HEADERS_TOO_LARGE"],
    ] as [string[], string][]) {
      const session = connectHttp2(bed.url);
      const head = { ":method": "POST", ":path": rpc, te: "trailers" };
      const type = { "content-type": "application/grpc" };
      const stream = session.request({ ...head, ...type, "idempotency-key": value });
      let said = "";
      for (const event of ["response", "trailers"]) {
        stream.on(event, (got: Record<string, unknown>) => {
          const details = String(got["grpc-status-details-bin"] ?? "");
          said += JSON.stringify(got) + Buffer.from(details, "base64").toString("latin1");
        });
      }
      stream.resume();
      stream.end(Buffer.alloc(5));
      await until(() => said.includes(reason), `${reason} in ${said}`);
      session.destroy();
    }
  });

  it("takes one", async () => {
    const headers = { ...json, "idempotency-key": "a, b" };
    const res = await fetch(`${bed.url}${path}`, { method: "POST", headers, body });
    expect(res.status).to.equal(200);
  });

  for (const [encoding, packed] of [
    ["gzip", gzipSync(body)],
    ["x-gzip", gzipSync(body)],
    ["GZIP", gzipSync(body)],
    ["br", brotliCompressSync(body)],
    ["identity", Buffer.from(body)],
  ] as const) {
    it(`may say that the body is packed: ${encoding}`, async () => {
      const headers = { ...json, "content-encoding": encoding };
      const init = { method: "POST", headers, body: new Uint8Array(packed) };
      const res = await fetch(`${bed.url}${path}`, init);
      expect(res.status).to.equal(200);
      expect(await res.json()).to.include({ text: "hi" });
    });
  }

  for (const [encoding, pack] of [
    ["gzip", gzipSync],
    ["br", brotliCompressSync],
  ] as const) {
    it(`a small body that unpacks to too much: 413, ${encoding}`, async () => {
      const bomb = new Uint8Array(pack(Buffer.alloc(5_000_000, 32)));
      expect(bomb.length).to.be.lessThan(limit);
      const headers = { ...json, "content-encoding": encoding };
      for (const sender of [fetchSender(bed.url), http2Sender(bed.url)]) {
        const refused = await refusedBy(sender, { method: "POST", path, headers, body: bomb });
        expect([refused.status, refused.problem.reason]).to.deep.equal([413, "TOO_LARGE"]);
        expect(refused.problem.metadata).to.deep.equal({ limit_bytes: String(limit) });
        sender.close();
      }
    });
  }

  it("a body that is not packed as it says: 400 that names the header", async () => {
    for (const sent of [
      new Uint8Array(Buffer.from(body)),
      new Uint8Array(gzipSync(body)).slice(0, 20),
    ]) {
      const headers = { ...json, "content-encoding": "gzip" };
      const asked = { method: "POST", path, headers, body: sent };
      const { status, problem } = await refusedBy(fetchSender(bed.url), asked);
      expect([status, problem.reason]).to.deep.equal([400, "MALFORMED_BODY"]);
      expect(problem.metadata).to.deep.equal({ field: "Content-Encoding" });
    }
  });

  it("a packing that is not known: 415 that says which are, over Connect by reason too", async () => {
    const headers = { ...json, "content-encoding": "zip" };
    const refused = await refusedBy(fetchSender(bed.url), { method: "POST", path, headers, body });
    expect(refused.header("accept-encoding")).to.equal("gzip, br");
    expect(refused.problem.metadata.field).to.equal("Content-Encoding");
    const res = await fetch(`${bed.url}${rpc}`, { method: "POST", headers, body });
    expect(res.status).to.equal(415);
    expect(res.headers.get("x-request-id")).to.match(/^req_/);
    const said = await res.text();
    expect(said).to.include('"code":"unimplemented"').and.include("UNSUPPORTED_MEDIA_TYPE");
  });

  it("Connect clients may pack, and are held to the limit unpacked", async () => {
    const transport = createConnectTransport({
      baseUrl: bed.url,
      httpVersion: "1.1",
      sendCompression: compressionGzip,
      compressMinBytes: 0,
    });
    const client = createClient(InferService, transport);
    const { text } = await client.infer(create(InferRequestSchema, { input: "hi" }));
    expect(text).to.equal("hi");
    const error: unknown = await client.infer({ input: " ".repeat(500_000) }).catch((e) => e);
    expect(ConnectError.from(error).code).to.equal(Code.ResourceExhausted);
    expect(toDevmeshError(error).reason).to.equal("TOO_LARGE");
  });

  it("refusals that Connect makes before a call have an id, too", async () => {
    const init = { method: "POST", headers: json, body: "{" };
    const res = await fetch(`${bed.url}${rpc}`, init);
    expect([res.status, await res.text()][0]).to.equal(400);
    expect(res.headers.get("x-request-id")).to.match(/^req_/);
  });
});
