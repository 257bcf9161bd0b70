/** An answer is whole, whatever the client sends behind its request. */
import { createServer, type Server } from "node:net";
import { silentLogger } from "@devmesh/mesh/log";
import { CountedIds } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import type { HttpResponse } from "../../services/mesh/server/http-exchange.ts";
import { createHttp1 } from "../../services/mesh/server/http1-server.ts";
import { openRaw } from "../wire/raw-socket.ts";

/** More than a connection's buffers hold: it is on its way when the junk is read. */
const answer = "x".repeat(8 * 1024 * 1024);

describe("the server of HTTP/1.1", () => {
  let listener: Server;

  /** Answers at once with the head and `answer`; the end comes by `end`, if at all. */
  async function serve(end: (res: HttpResponse) => void): Promise<number> {
    const http1 = createHttp1({
      headersTimeoutMs: 10_000,
      bodyTimeoutMs: 10_000,
      ids: new CountedIds(),
      logger: silentLogger(),
      handle: (_req, res) => {
        res.writeHead(200, { "content-type": "text/plain" });
        res.write(answer);
        end(res);
      },
      refuseConnect: () => {},
      refuseExpectation: () => {},
    });
    listener = createServer((socket) => http1.emit("connection", socket));
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const address = listener.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  afterEach(() => listener.close());

  for (const [when, end] of [
    ["is on its way", (res: HttpResponse) => void res.end()],
    ["has begun", (res: HttpResponse) => void setImmediate(() => res.end())],
  ] as const) {
    it(`ends an answer that ${when}, and then refuses the junk behind its request`, async () => {
      const raw = await openRaw(await serve(end));
      raw.socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0\0\0");
      const text = await raw.closed();
      expect(text.length).to.be.greaterThan(answer.length);
      expect(text).to.match(/^HTTP\/1\.1 200 OK/);
      expect(text.slice(-2_000)).to.include("HTTP/1.1 400 Bad Request").and.to.include('"reason"');
    });

    it(`ends an answer that ${when} when its request turns into junk`, async () => {
      const raw = await openRaw(await serve(end));
      raw.socket.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\njunk");
      const text = await raw.closed();
      expect(text.length).to.be.greaterThan(answer.length);
      expect(text)
        .to.match(/^HTTP\/1\.1 200 OK/)
        .and.to.not.include("400 Bad Request");
    });
  }

  it("breaks off an answer that goes on", async () => {
    const raw = await openRaw(await serve(() => {}));
    raw.socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0\0\0");
    expect(await raw.closed()).not.to.include("400 Bad Request");
  });
});
