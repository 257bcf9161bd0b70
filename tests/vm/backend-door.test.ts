/** The door out of a sandbox: to the backend and nowhere else, until it is shut. */
import { existsSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { dirname } from "node:path";
import { expect } from "chai";
import { type BackendDoor, openBackendDoor } from "../../services/vm/runner/backend-door.ts";

describe("backend door", () => {
  let server: Server;
  let door: BackendDoor;
  let peers: string[];
  beforeEach(async () => {
    peers = [];
    server = createServer((req, res) => {
      peers.push(req.socket.remoteAddress ?? "");
      if (req.url === "/big") res.end(Buffer.alloc(5 << 20, "x"));
      else if (req.url === "/open") res.write("first");
      else req.pipe(res);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    door = await openBackendDoor(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  afterEach(async () => {
    await door.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it("passes a call on, and its answer back", async () => {
    expect(await call("/", "hello")).to.equal("hello");
  });

  it("passes all of a long answer, also when the backend closes first", async () => {
    expect(await call("/big", "", { connection: "close" })).to.have.length(5 << 20);
  });

  it("comes from an address of its own, so that no sandbox passes for a local caller", async function () {
    if (process.platform !== "linux") this.skip();
    await call("/", "");
    expect(peers).to.deep.equal(["127.0.0.2"]);
  });

  it("cuts open calls when it is shut, and leaves nothing behind", async () => {
    const opened = Promise.withResolvers<void>();
    const ended = new Promise((resolve) => {
      const req = request({ socketPath: door.socketPath, path: "/open" }, (res) => {
        res.once("data", () => opened.resolve());
        res.once("error", resolve);
      });
      req.once("error", resolve);
      req.end();
    });
    await opened.promise;
    await door.close();
    expect(await ended).to.be.instanceOf(Error);
    expect(existsSync(dirname(door.socketPath))).to.equal(false);
  });

  it("ends a connection when there is no backend", async () => {
    const none = await openBackendDoor("http://127.0.0.1:1");
    const socket = connect(none.socketPath);
    await new Promise((resolve) => socket.once("close", resolve));
    await none.close();
  });

  it("can be used by another user of the host that knows its name", () => {
    expect(statSync(door.socketPath).mode & 0o777).to.equal(0o666);
    expect(statSync(dirname(door.socketPath)).mode & 0o777).to.equal(0o711);
  });

  async function call(path: string, body: string, headers = {}): Promise<string> {
    const res = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { socketPath: door.socketPath, path, method: "POST", headers };
      request(options, resolve).once("error", reject).end(body);
    });
    const chunks: Buffer[] = [];
    for await (const chunk of res) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  }
});
