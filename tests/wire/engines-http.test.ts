import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { authorization, type Bed, engines, startBed } from "./engines-bed.ts";

const headers = { authorization };

/** Sends bytes over a connection of its own; resolves to what came back until the end. */
async function raw(port: number, ...writes: string[]): Promise<string> {
  const socket: Socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  for (const part of writes) socket.write(part);
  return text(socket).catch(() => "");
}

for (const engine of engines) {
  describe(`HTTP to the ${engine} engine`, () => {
    let bed: Bed;
    before(async () => {
      bed = await startBed(engine, {
        corsOrigins: ["http://console.test"],
        maxMessageBytes: 100_000,
        bounds: { firstBytesTimeoutMs: 50 },
      });
    });
    after(() => bed.close());

    it("answers REST over HTTP/1.1", async () => {
      const res = await fetch(`${bed.url}/v1/sandboxes`, { headers });
      expect(res.status).to.equal(200);
      expect(res.headers.get("x-request-id")).to.match(/^req_/);
      expect(await res.json()).to.deep.equal({ sandboxes: [{ id: "sbx_1", driver: "fake" }] });
    });

    it("answers a refusal as a problem document with its wait", async () => {
      const options = { method: "DELETE", headers: { ...headers, "x-request-id": "mine" } };
      const res = await fetch(`${bed.url}/v1/sandboxes/busy`, options);
      expect(res.status).to.equal(429);
      expect(res.headers.get("content-type")).to.equal("application/problem+json");
      expect(res.headers.get("retry-after")).to.equal("2");
      expect(res.headers.get("x-request-id")).to.equal("mine");
      expect(await res.json()).to.include({ reason: "RATE_LIMITED", requestId: "mine" });
    });

    it("asks for a token", async () => {
      const res = await fetch(`${bed.url}/v1/sandboxes`);
      expect(res.status).to.equal(401);
      expect(res.headers.get("www-authenticate")).to.equal("Bearer");
    });

    it("streams events over server-sent events, an error included", async () => {
      const accept = { ...headers, accept: "text/event-stream" };
      const res = await fetch(`${bed.url}/v1/jobs/breaks/events`, { headers: accept });
      expect(res.headers.get("content-type")).to.include("text/event-stream");
      const body = await res.text();
      expect(body).to.include('"seq":1').and.include("event: error");
      expect(body).to.include("WRONG_STATE");
    });

    it("survives every kind of odd address", async () => {
      for (const target of ["//", "/%", "/\\", "http://[", "*", "/v1/sandboxes/%zz", "/?#"]) {
        const answer = await raw(
          bed.server.port,
          `GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
        );
        expect(answer, target).to.match(/^HTTP\/1\.1 4\d\d /);
      }
    });

    it("says 404 where nothing is, and which verbs a path takes", async () => {
      const nothing = await fetch(`${bed.url}/nothing`);
      expect(nothing.status).to.equal(404);
      expect(await nothing.json()).to.include({ reason: "NO_SUCH_ROUTE" });
      const wrong = await fetch(`${bed.url}/v1/host`, { method: "POST" });
      expect(await wrong.json()).to.have.property("detail", "/v1/host takes GET, HEAD");
    });

    it("refuses a body that is too large with 413, sent at once or in chunks", async () => {
      const url = `${bed.url}/v1/llm/none`;
      // A Connect call: its body has the same limit.
      const rpc = `${bed.url}/devmesh.vm.v1.SandboxService/DeleteSandbox`;
      const body = JSON.stringify({ id: "x".repeat(200_000) });
      const json = { ...headers, "content-type": "application/json" };
      const res = await fetch(rpc, { method: "POST", headers: json, body });
      expect(res.status).to.equal(429);
      expect(await res.json()).to.include({ code: "resource_exhausted" });
      expect((await fetch(url, { method: "POST", body })).status).to.equal(404);
    });

    it("refuses JSON that is none", async () => {
      const rpc = `${bed.url}/devmesh.vm.v1.SandboxService/DeleteSandbox`;
      const json = { ...headers, "content-type": "application/json" };
      const res = await fetch(rpc, { method: "POST", headers: json, body: "{" });
      expect(res.status).to.equal(400);
      expect(await res.json()).to.include({ code: "invalid_argument" });
    });

    it("lets allowed origins in, and no others", async () => {
      const preflight = (origin: string) =>
        fetch(`${bed.url}/v1/sandboxes`, {
          method: "OPTIONS",
          headers: { origin, "access-control-request-method": "DELETE" },
        });
      const allowed = await preflight("http://console.test");
      expect(allowed.status).to.equal(204);
      expect(allowed.headers.get("access-control-allow-origin")).to.equal("http://console.test");
      expect(allowed.headers.get("access-control-allow-methods")).to.include("DELETE");
      expect(allowed.headers.get("access-control-allow-headers")).to.include("Authorization");
      const denied = await preflight("http://evil.test");
      expect(denied.status).to.equal(204);
      expect(denied.headers.get("access-control-allow-origin")).to.equal(null);
      expect(denied.headers.get("vary")).to.equal("origin");
    });

    it("answers garbage with 400, and silence with the end of the connection", async () => {
      expect(await raw(bed.server.port, "\0\u0001garbage\r\n\r\n")).to.match(/^HTTP\/1\.1 400 /);
      expect(await raw(bed.server.port)).to.equal("");
      expect(await raw(bed.server.port, "PRI * HT")).to.equal("");
    });

    it("takes a preface in pieces, and ends a session of garbage frames", async () => {
      const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
      const answer = await raw(
        bed.server.port,
        preface.slice(0, 5),
        preface.slice(5, 20),
        `${preface.slice(20)}${"garbage".repeat(10)}`,
      );
      expect(answer).to.not.include("HTTP/1.1");
      expect((await fetch(`${bed.url}/livez`)).status).to.equal(200);
    });

    it("answers a client that ended its side with the request", async () => {
      const socket = connect(bed.server.port, "127.0.0.1");
      socket.end("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
      expect(await text(socket)).to.match(/^HTTP\/1\.1 200 /);
    });
  });
}

describe("HTTP/2 with prior knowledge to the connect engine", () => {
  it("answers REST and probes", async () => {
    const bed = await startBed("connect");
    const session = connectHttp2(bed.url);
    try {
      const stream = session.request({ ":path": "/v1/sandboxes", authorization });
      const [head] = await once(stream, "response");
      expect(head).to.include({ ":status": 200 });
      expect(JSON.parse(await text(stream))).to.have.property("sandboxes");
    } finally {
      session.close();
      await bed.close();
    }
  });
});
