/** The door out of a sandbox to a backend behind TLS. */
import { once } from "node:events";
import { request } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { makeCertificate } from "../../scripts/parts/certificate.ts";
import { type BackendDoor, openBackendDoor } from "../../services/vm/runner/backend-door.ts";
import { log, need } from "../parts/need.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";

describe("backend door by TLS", () => {
  let folder: TempFolder;
  let server: Server;
  let door: BackendDoor;
  let hosts: string[];
  const trust = process.env.NODE_TLS_REJECT_UNAUTHORIZED;

  beforeEach(async function () {
    folder = tempFolder();
    const { key, cert } = need(this, await makeCertificate(folder.path, { log }));
    hosts = [];
    server = createServer({ key, cert }, (req, res) => {
      hosts.push(String(req.headers.host));
      if (req.url === "/cut") {
        res.writeHead(200, { "content-length": "100" });
        res.write("half");
        setImmediate(() => res.destroy());
      } else if (req.url === "/events") {
        res.writeHead(200, { "content-type": "text/event-stream" });
        res.write("data: one\n\n");
        req.once("close", () => res.end());
      } else req.pipe(res);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    door = await openBackendDoor(`https://localhost:${(server.address() as AddressInfo).port}`);
    // The certificate is of this test alone: what is trusted is tested with the runner.
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  });
  afterEach(async () => {
    if (trust === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = trust;
    await door?.close();
    server?.closeAllConnections();
    server?.close();
    folder[Symbol.dispose]();
  });

  function call(path: string, body: string, headers: Record<string, string> = {}) {
    return new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
      const options = { socketPath: door.socketPath, path, method: "POST", headers };
      const req = request(options, (res) => {
        let text = "";
        res.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        res.once("end", () => resolve({ status: res.statusCode, text }));
        res.once("error", reject);
      });
      req.once("error", reject);
      req.end(body);
    });
  }

  it("passes calls on under the backend's own name, whatever the sandbox calls it", async () => {
    const body = "x".repeat(1 << 20);
    const answers = await Promise.all([
      call("/a", body, { host: "evil.example" }),
      call("/b", "", { connection: "close, x-hop", "x-hop": "1" }),
    ]);
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200]);
    expect(answers[0]?.text).to.equal(body);
    const own = `localhost:${(server.address() as AddressInfo).port}`;
    expect(hosts).to.deep.equal([own, own]);
  });

  it("passes a stream on as it comes, and its end back when the sandbox leaves", async () => {
    const left = new Promise((resolve) =>
      server.once("request", (req) => req.once("close", resolve)),
    );
    const req = request({ socketPath: door.socketPath, path: "/events" });
    req.end();
    const [res] = await once(req, "response");
    const [chunk] = await once(res, "data");
    expect(String(chunk)).to.equal("data: one\n\n");
    req.destroy();
    await left;
  });

  it("never makes a cut answer look whole, and says so where there is none", async () => {
    const cut = await call("/cut", "").catch((error: Error) => error);
    expect(cut).to.be.instanceOf(Error);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect((await call("/a", "")).status).to.equal(502);
  });
});
