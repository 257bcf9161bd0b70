/** The order in which a server defends itself: who calls, before what is said; and how long it waits. */
import { connect as connectHttp2 } from "node:http2";
import { expect } from "chai";
import { openRaw, type RawSocket } from "./raw-socket.ts";
import { until, within } from "./waiting.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const infer = "/devmesh.api.v1.InferService/Infer";
const streamInfer = "/devmesh.api.v1.InferService/StreamInfer";
const putBlob = "/devmesh.api.v1.BlobService/PutBlob";

/** What is said in each protocol; none of the bodies can be read. */
const calls = [
  { name: "REST", path: "/v1/llm/infer", type: "application/json" },
  { name: "Connect, JSON", path: infer, type: "application/json" },
  { name: "Connect, binary", path: infer, type: "application/proto" },
  { name: "a Connect stream", path: streamInfer, type: "application/connect+json" },
  { name: "a Connect stream of the client", path: putBlob, type: "application/connect+proto" },
  { name: "gRPC-Web", path: infer, type: "application/grpc-web+proto" },
  { name: "gRPC", path: infer, type: "application/grpc", http2Only: true },
];

const refusals = [
  { who: "a wrong token", token: "Bearer wrong", reason: "UNAUTHENTICATED" },
  { who: "no token", token: "Bearer nobody", reason: "UNAUTHENTICATED" },
  { who: "a token without the scope", token: "Bearer weak", reason: "SCOPE_MISSING" },
];

/** Sends the head, a first bit of a body and no end; answers what came back as text. */
async function beginHttp1(bed: Bed, path: string, headers: Record<string, string>) {
  const raw = await openRaw(bed.port);
  const lines = Object.entries({ host: "x", ...headers }).map(([k, v]) => `${k}: ${v}\r\n`);
  raw.socket.write(`POST ${path} HTTP/1.1\r\n${lines.join("")}content-length: 9000000\r\n\r\n{"`);
  return raw;
}

/** The same by HTTP/2: head, body and trailers of the answer. */
async function beginHttp2(bed: Bed, path: string, headers: Record<string, string>) {
  const session = connectHttp2(bed.url);
  session.on("error", () => {});
  const stream = session.request(
    { ":method": "POST", ":path": path, te: "trailers", ...headers },
    { endStream: false },
  );
  stream.on("error", () => {});
  let text = "";
  stream.on("response", (head) => {
    text += JSON.stringify(head);
  });
  stream.on("trailers", (trailers) => {
    text += JSON.stringify(trailers);
  });
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  stream.write("{");
  return { stream, text: () => text, end: () => session.destroy() };
}

/** True once the answer names the reason, in JSON or in the bytes of a trailer's details. */
function names(text: string, reason: string): boolean {
  if (text.includes(reason)) return true;
  const inBase64 = [...text.matchAll(/(?:details-bin["\s:]+|"value":")([A-Za-z0-9+/_-]+)/g)];
  return inBase64.some(([, value = ""]) =>
    Buffer.from(value, "base64").toString("latin1").includes(reason),
  );
}

describe("who calls is asked before what is said", () => {
  let bed: Bed;
  before(async () => {
    bed = await startBed("connect");
  });
  after(() => bed.end());

  for (const { name, path, type, http2Only } of calls) {
    for (const { who, token, reason } of refusals) {
      const headers = { authorization: token, "content-type": type };
      it(`${name} over HTTP/2: ${who} is refused while its body is still under way`, async () => {
        const call = await beginHttp2(bed, path, headers);
        await until(() => names(call.text(), reason), `${reason}: ${call.text()}`);
        call.end();
      });
      if (http2Only) continue;
      it(`${name} over HTTP/1.1: ${who} is refused while its body is still under way`, async () => {
        const raw = await beginHttp1(bed, path, headers);
        await until(() => names(raw.text(), reason), `${reason}: ${raw.text()}`);
        raw.socket.destroy();
      });
    }
  }

  it("leaves a line in the log and counts as a call, as every refusal does", async () => {
    const before = bed.lines.length;
    const headers = { authorization: "Bearer wrong", "content-type": "application/json" };
    const raw = await beginHttp1(bed, infer, headers);
    await until(() => bed.lines.length > before, "the line");
    const line = bed.lines.at(-1);
    expect(line).to.include({ outcome: "UNAUTHENTICATED" });
    expect(line?.rpc).to.equal("devmesh.api.v1.InferService/Infer");
    raw.socket.destroy();
  });

  it("refuses a Connect call by GET without reading its message", async () => {
    const query = "connect=v1&encoding=json&compression=gzip&base64=1&message=%%%";
    const path = "/devmesh.vm.v1.SandboxService/ProbeHost";
    const headers = { authorization: "Bearer wrong" };
    const res = await fetch(`${bed.url}${path}?${query}`, { headers });
    expect(res.status).to.equal(401);
  });

  it("cuts off a refused caller whose body does not end", async () => {
    const headers = { authorization: "Bearer wrong", "content-type": "application/json" };
    const raw = await beginHttp1(bed, infer, headers);
    const more = setInterval(() => raw.socket.write("more"), 50);
    expect(await raw.closed()).to.include("401");
    clearInterval(more);
  });
});

describe("who calls is asked before the message is decoded, HTTP/2 by grpc-js", () => {
  let bed: Bed;
  before(async () => {
    bed = await startBed("grpc-js");
  });
  after(() => bed.end());

  for (const { who, token, reason } of refusals) {
    it(`${who} is refused, though the message is none`, async () => {
      const session = connectHttp2(bed.url);
      const head = { ":method": "POST", ":path": infer, te: "trailers" };
      const headers = { authorization: token, "content-type": "application/grpc" };
      const stream = session.request({ ...head, ...headers });
      let text = "";
      stream.on("response", (got) => {
        text += JSON.stringify(got);
      });
      stream.on("trailers", (got) => {
        text += JSON.stringify(got);
      });
      stream.resume();
      stream.end(Buffer.from([0, 0, 0, 0, 3, 255, 255, 255]));
      await until(() => names(text, reason), reason);
      session.destroy();
    });
  }
});

for (const engine of engines) {
  describe(`patience, HTTP/2 by ${engine}`, () => {
    let bed: Bed;
    before(async () => {
      bed = await startBed(engine, {
        bounds: {
          firstBytesTimeoutMs: 60_000,
          headersTimeoutMs: 200,
          bodyTimeoutMs: 300,
          maxConnections: 30,
        },
      });
    });
    after(() => bed.end());

    it("closes a connection whose head does not end", async () => {
      const raw = await openRaw(bed.port);
      raw.socket.write("GET /v1/host HTTP/1.1\r\nhost: x\r\nx-slow: ");
      const drip = setInterval(() => raw.socket.write("a"), 50);
      await raw.closed();
      clearInterval(drip);
    });

    it("closes a connection whose body does not end, though it is never still", async () => {
      for (const path of ["/v1/llm/infer", infer]) {
        const raw = await beginHttp1(bed, path, { "content-type": "application/json" });
        const drip = setInterval(() => raw.socket.write(" "), 50);
        await raw.closed();
        clearInterval(drip);
      }
    });

    if (engine === "connect") {
      it("ends a stream of HTTP/2 whose body does not end", async () => {
        for (const path of ["/v1/llm/infer", infer]) {
          const { stream, end } = await beginHttp2(bed, path, {
            "content-type": "application/json",
          });
          const drip = setInterval(() => stream.write(" "), 50);
          await within(new Promise((resolve) => stream.once("close", resolve)), "its end");
          clearInterval(drip);
          expect(stream.rstCode).to.not.equal(0);
          end();
        }
      });
    }

    it("answers although more clients than it has room for connect and say nothing", async () => {
      const silent: RawSocket[] = [];
      for (let i = 0; i < 60; i++) silent.push(await openRaw(bed.port));
      await silent[0]?.closed();
      for (let i = 0; i < 3; i++) {
        const { status } = await fetch(`${bed.url}/v1/host`, { headers: { connection: "close" } });
        expect(status).to.equal(200);
      }
      // Those that came last are still there: only the oldest made room.
      expect(silent.at(-1)?.socket.destroyed).to.equal(false);
      for (const { socket } of silent) socket.destroy();
    });
  });
}
