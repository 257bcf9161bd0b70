/** What is refused at the door, before there is a call: each in the one form, with the cause and an id. */
import { connect as connectHttp2 } from "node:http2";
import { expect } from "chai";
import { fetchSender, http2Sender } from "./http-senders.ts";
import { openRaw } from "./raw-socket.ts";
import { refusedBy, refusedIn } from "./refused-answer.ts";
import { until, within } from "./waiting.ts";
import { type Bed, startBed } from "./wire-bed.ts";

const infer = "/devmesh.api.v1.InferService/Infer";
const streamInfer = "/devmesh.api.v1.InferService/StreamInfer";
const host = "Host: x\r\n";
const chunked = `POST /v1/llm/infer HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`;

describe("refusals at the door", () => {
  let bed: Bed;
  before(async () => {
    bed = await startBed("connect");
  });
  after(() => bed.end());
  afterEach(async () => {
    expect((await fetch(`${bed.url}/v1/host`)).status, "others are served on").to.equal(200);
  });

  /** What a connection gets for these bytes, until the server ends it. */
  async function raw(bytes: string) {
    const connection = await openRaw(bed.port);
    connection.socket.write(bytes, "latin1");
    const refused = refusedIn(await connection.closed());
    expect(refused.header("connection")).to.equal("close");
    return refused;
  }

  for (const [name, bytes, status, reason, detail, field] of [
    [
      ...["no HTTP at all", "\0\u0001 garbage\r\n\r\n", 400, "MALFORMED_REQUEST"],
      ...["it does not begin with a method"],
    ],
    ["a method in small letters", `get / HTTP/1.1\r\n${host}\r\n`, 400, "MALFORMED_REQUEST"],
    [
      ...["a version that there is not", `GET / HTTP/9.1\r\n${host}\r\n`, 400],
      ...["MALFORMED_REQUEST", "invalid http version"],
    ],
    [
      ...["a header that is none", `GET / HTTP/1.1\r\nHo st: x\r\n\r\n`, 400],
      ...["MALFORMED_REQUEST", "invalid header token"],
    ],
    [
      ...[
        "two lengths",
        `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      ],
      ...[400, "MALFORMED_REQUEST", "duplicate content-length", "Content-Length"],
    ],
    [
      ...["an encoding of transfer", `POST / HTTP/1.1\r\n${host}Transfer-Encoding: x\r\n\r\n`, 400],
      ...["MALFORMED_REQUEST", "invalid `transfer-encoding`", "Transfer-Encoding"],
    ],
    ["a bad chunk", `${chunked}zz\r\n`, 400, "MALFORMED_BODY", "chunk size"],
    ["chunks with much to say", `${chunked}1;${"x".repeat(20_000)}\r\n`, 413, "TOO_LARGE"],
    ["no Host", "GET /livez HTTP/1.1\r\n\r\n", 400, "INVALID_FIELD", "is missing", "Host"],
    [
      ...["two Hosts", `GET /livez HTTP/1.1\r\n${host}${host}\r\n`, 400],
      ...["INVALID_FIELD", "came twice", "Host"],
    ],
    [
      ...["an odd expectation", `GET /livez HTTP/1.1\r\n${host}Expect: tea\r\n\r\n`, 400],
      ...["INVALID_FIELD", "100-continue", "Expect"],
    ],
    [
      ...["a proxy's work", `CONNECT example.com:80 HTTP/1.1\r\n${host}\r\n`, 405],
      ...["METHOD_NOT_ALLOWED", "no proxy"],
    ],
  ] as [string, string, number, string, string?, string?][]) {
    it(`${name}: ${status}`, async () => {
      const refused = await raw(bytes);
      expect([refused.status, refused.problem.reason]).to.deep.equal([status, reason]);
      expect(refused.problem.detail).to.include(detail ?? "");
      expect(refused.problem.metadata.field).to.equal(field);
    });
  }

  it("headers that are too large: 431 that names the limit, by HTTP/1.1 and HTTP/2", async () => {
    const key = "k".repeat(100_000);
    const one = await raw(`POST /v1/llm/infer HTTP/1.1\r\n${host}Idempotency-Key: ${key}\r\n\r\n`);
    const sender = http2Sender(bed.url);
    const headers = { "idempotency-key": "k".repeat(20_000) };
    const two = await refusedBy(sender, { method: "POST", path: "/v1/llm/infer", headers });
    sender.close();
    for (const { status, problem } of [one, two]) {
      expect([status, problem.reason]).to.deep.equal([431, "HEADERS_TOO_LARGE"]);
      expect(problem.detail).to.include("16384 bytes");
      expect(problem.metadata).to.deep.equal({ limit_bytes: "16384" });
    }
  });

  it("a request that is not whole in time: 408", async () => {
    const impatient = await startBed("connect", {
      bounds: { headersTimeoutMs: 100, bodyTimeoutMs: 100 },
    });
    const connection = await openRaw(impatient.port);
    connection.socket.write(`GET /livez HTTP/1.1\r\n${host}X-Slow: `);
    const { status, problem } = refusedIn(await connection.closed());
    expect([status, problem.reason]).to.deep.equal([408, "REQUEST_TIMEOUT"]);
    await impatient.end();
  });

  /** Asks for a job's events, says junk behind it once they come, and answers all that was said. */
  async function junkBehind(id: string) {
    const connection = await openRaw(bed.port);
    const accept = "Accept: text/event-stream\r\n";
    connection.socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\n${host}${accept}\r\n`);
    await connection.says("HTTP/1.1 200");
    connection.socket.write("GARB AGE\r\n\r\n");
    return (await connection.closed()).split("HTTP/1.1 ").slice(1);
  }

  it("cuts a stream that goes on, without a second head in it", async () => {
    const [stream, ...more] = await junkBehind("silent");
    expect(stream).to.match(/^200 /);
    expect(more).to.deep.equal([]);
  });

  it("refuses junk behind a stream once that has ended whole", async () => {
    const [stream, refused] = await junkBehind("short");
    expect(stream)
      .to.match(/^200 /)
      .and.to.match(/\r\n0\r\n\r\n$/);
    expect(refused).to.match(/^400 /).and.to.include("MALFORMED_REQUEST");
  });

  for (const [method, path, headers, status, reason, allow] of [
    ["GET", "/nowhere", {}, 404, "NO_SUCH_ROUTE"],
    ["GET", "/v1/nowhere", {}, 404, "NO_SUCH_ROUTE"],
    ["POST", "/devmesh.api.v1.InferService/Nothing", {}, 404, "NO_SUCH_ROUTE"],
    ["DELETE", "/v1/host", {}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ["OPTIONS", "/v1/host", {}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ["PROPFIND", "/v1/host", {}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ["DELETE", "/livez", {}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ["POST", "/readyz", {}, 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ["PUT", infer, { "content-type": "application/json" }, 405, "METHOD_NOT_ALLOWED", "POST"],
    ["GET", infer, {}, 405, "METHOD_NOT_ALLOWED", "POST"],
    ["POST", infer, { "content-type": "text/plain" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["POST", streamInfer, { "content-type": "application/json" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["POST", "/v1/llm/infer", { "content-type": "text/xml" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["POST", "/v1/llm/infer", { "content-type": "multipart/x" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["POST", "/v1/llm/infer", { "content-encoding": "zip" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
  ] as [string, string, Record<string, string>, number, string, string?][]) {
    it(`${method} ${path} ${JSON.stringify(headers)}: ${status}`, async () => {
      for (const sender of [fetchSender(bed.url), http2Sender(bed.url)]) {
        const body = method === "POST" || method === "PUT" ? { body: "{}" } : {};
        const refused = await refusedBy(sender, { method, path, headers, ...body });
        expect([refused.status, refused.problem.reason]).to.deep.equal([status, reason]);
        expect(refused.header("allow")).to.equal(allow ?? "");
        if (status === 415) {
          const [field] = Object.keys(headers);
          expect(refused.problem.metadata.field?.toLowerCase()).to.equal(field);
        }
        sender.close();
      }
    });
  }

  it("a Connect call by GET whose encoding is none: 415 that names it", async () => {
    const path = "/devmesh.vm.v1.SandboxService/ProbeHost?connect=v1&encoding=xml&message=x";
    const { status, problem } = await refusedBy(fetchSender(bed.url), { method: "GET", path });
    expect([status, problem.metadata.field]).to.deep.equal([415, "encoding"]);
  });

  it("an odd expectation by HTTP/2: 400", async () => {
    const sender = http2Sender(bed.url);
    const headers = { expect: "tea" };
    const { status, problem } = await refusedBy(sender, { method: "GET", path: "/livez", headers });
    sender.close();
    expect([status, problem.reason]).to.deep.equal([400, "INVALID_FIELD"]);
    expect(problem.metadata).to.deep.equal({ field: "Expect" });
  });

  it("TRACE by HTTP/1.1, CONNECT and small letters by HTTP/2: 405", async () => {
    const connection = await openRaw(bed.port);
    connection.socket.write(`TRACE /v1/host HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
    expect(refusedIn(await connection.closed()).status).to.equal(405);
    const sender = http2Sender(bed.url);
    const small = await refusedBy(sender, { method: "get", path: "/v1/host" });
    expect([small.status, small.header("allow")]).to.deep.equal([405, "GET, HEAD"]);
    sender.close();
    const session = connectHttp2(bed.url);
    const stream = session.request({ ":method": "CONNECT", ":authority": "example.com:80" });
    const head = Promise.withResolvers<unknown>();
    stream.on("error", head.reject);
    stream.on("response", (got) => head.resolve(got[":status"]));
    stream.resume();
    expect(await within(head.promise, "the answer to CONNECT")).to.equal(405);
    session.destroy();
  });

  it("takes JSON by its name, by none, and as curl and fetch send it", async () => {
    for (const type of [
      "application/json; charset=utf-8",
      "application/merge-patch+json",
      "application/x-www-form-urlencoded",
      "text/plain;charset=UTF-8",
    ]) {
      const body = JSON.stringify({ input: "hi" });
      const headers = { "content-type": type };
      const res = await fetch(`${bed.url}/v1/llm/infer`, { method: "POST", headers, body });
      expect(res.status, type).to.equal(200);
    }
  });

  it("passes over an upgrade that nobody takes", async () => {
    const connection = await openRaw(bed.port);
    const upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA";
    connection.socket.write(`GET /v1/host HTTP/1.1\r\n${host}${upgrade}\r\n\r\n`);
    await connection.says("HTTP/1.1 200 OK");
    connection.socket.destroy();
  });

  it("leaves a line in the log under the id that the answer has", async () => {
    const { problem } = await refusedBy(fetchSender(bed.url), { method: "GET", path: "/nowhere" });
    const broken = await raw("GARBAGE\r\n\r\n");
    for (const { requestId, reason } of [problem, broken.problem]) {
      const line = () => bed.lines.find((one) => one.requestId === requestId);
      await until(() => line() !== undefined, "the line");
      expect(line()).to.include({ outcome: reason });
    }
  });

  it("keeps the id that a caller gave", async () => {
    const headers = { "x-request-id": "mine" };
    const res = await fetch(`${bed.url}/nowhere`, { headers });
    expect(res.headers.get("x-request-id")).to.equal("mine");
    expect(await res.json()).to.include({ requestId: "mine" });
  });
});
