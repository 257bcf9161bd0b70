/** An answer is whole, whatever the client sends behind its request. */
import { createServer, type Server } from "node:net";
import { silentLogger } from "@devmesh/mesh/log";
import { CountedIds } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { createHttp1 } from "../../services/mesh/server/http1-server.ts";
import { openRaw } from "../wire/raw-socket.ts";

/** More than a connection's buffers hold: it is on its way when the junk is read. */
const answer = "x".repeat(8 * 1024 * 1024);

describe("the server of HTTP/1.1", () => {
  let listener: Server;

  async function serve(isStream: boolean): Promise<number> {
    const http1 = createHttp1({
      headersTimeoutMs: 10_000,
      bodyTimeoutMs: 10_000,
      ids: new CountedIds(),
      logger: silentLogger(),
      handle: (_req, res) => {
        res.writeHead(200, { "content-type": "text/plain" });
        res.write(answer);
        if (!isStream) res.end();
      },
      refuseConnect: () => {},
    });
    listener = createServer((socket) => http1.emit("connection", socket));
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const address = listener.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  afterEach(() => listener.close());

  it("ends an answer that is on its way, and then refuses the junk behind the request", async () => {
    const raw = await openRaw(await serve(false));
    raw.socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0\0\0");
    const text = await raw.closed();
    expect(text.length).to.be.greaterThan(answer.length);
    expect(text).to.match(/^HTTP\/1\.1 200 OK/);
    expect(text.slice(-2_000)).to.include("HTTP/1.1 400 Bad Request").and.to.include('"reason"');
  });

  it("breaks off an answer that goes on", async () => {
    const raw = await openRaw(await serve(true));
    raw.socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0\0\0");
    expect(await raw.closed()).not.to.include("400 Bad Request");
  });
});
