/** The proxy's faults, each against a plain echo server. */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { SeededRandom } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { until, within } from "../wire/waiting.ts";
import { between } from "./random.ts";
import { type FaultPlan, TcpProxy } from "./tcp-proxy.ts";

describe("the TCP fault proxy", function () {
  this.timeout(60_000);
  let name: string;
  let servers: Server[];
  let proxy: TcpProxy;
  let peers: Socket[];

  /** A server that says its name and then echoes. */
  async function serve(greeting: string): Promise<number> {
    const server = createServer((socket) => {
      peers.push(socket);
      socket.on("error", () => {});
      socket.write(greeting);
      socket.pipe(socket);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }

  beforeEach(async () => {
    servers = [];
    peers = [];
    name = "one;";
    proxy = await TcpProxy.open({ upstreamPort: await serve(name) });
  });
  afterEach(async () => {
    await proxy.close();
    for (const socket of peers) socket.destroy();
    for (const server of servers) server.close();
  });

  /** A connection through the proxy, what it heard, and how it ended. */
  function dial(plan: FaultPlan = () => ({})) {
    proxy.planFrom(plan);
    const socket = connect(proxy.port, "127.0.0.1");
    const heard = { text: "", error: "" };
    socket.on("data", (data) => {
      heard.text += data.toString("latin1");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      heard.error = error.code ?? "";
    });
    const closed = once(socket, "close").catch(() => {});
    return { socket, heard, closed: () => within(closed, "the end") };
  }

  it("passes everything on, both ways, however it is cut into pieces", async () => {
    const { socket, heard, closed } = dial();
    const text = "x".repeat(1_000_000);
    socket.end(text);
    await closed();
    expect(heard.text).to.equal(name + text);
    await until(() => proxy.open === 0, "no connection is left");
  });

  for (const cut of ["reset", "end"] as const) {
    it(`cuts after so many bytes with ${cut}`, async () => {
      const { socket, heard, closed } = dial(() => ({ cutAfterBytes: 7, cut }));
      socket.write("abcdef");
      await closed();
      expect(heard).to.deep.equal({
        text: "one;abc",
        error: cut === "reset" ? "ECONNRESET" : "",
      });
    });
  }

  it("holds still, and goes on with nothing lost", async () => {
    const { socket, heard } = dial();
    await until(() => heard.text === name, "the greeting");
    proxy.hold();
    let flushed = false;
    socket.write("y".repeat(20_000_000), () => {
      flushed = true;
    });
    await until(() => socket.writableLength > 0, "the sender's buffer is full");
    expect([heard.text, flushed]).to.deep.equal([name, false]);
    proxy.release();
    await until(() => heard.text.length === name.length + 20_000_000, "all of it");
  });

  it("swallows what is said", async () => {
    const { socket, heard } = dial(() => ({ blackHole: true }));
    await until(() => peers.length === 1, "the upstream has the connection");
    socket.write("lost");
    const other = dial();
    other.socket.write("kept");
    await until(() => other.heard.text === "one;kept", "the other's echo");
    expect([heard.text, socket.destroyed]).to.deep.equal(["", false]);
    socket.destroy();
  });

  it("leaves the client's side open when the upstream's is gone", async () => {
    const { socket, heard } = dial();
    await until(() => heard.text === name, "the greeting");
    const gone = once(peers[0] as Socket, "close").catch(() => {});
    proxy.halfOpenAll();
    await within(gone, "the upstream's side has ended");
    socket.write("nobody hears this");
    const other = dial();
    other.socket.write("kept");
    await until(() => other.heard.text === "one;kept", "the other's echo");
    expect([socket.destroyed, socket.readableEnded]).to.deep.equal([false, false]);
    socket.destroy();
  });

  it("delays, in order", async () => {
    const { socket, heard } = dial(() => ({ latencyMs: 5 }));
    for (const letter of "abcdefgh") socket.write(letter);
    await until(() => heard.text === "one;abcdefgh", "the echo");
    socket.destroy();
  });

  it("sends new connections elsewhere", async () => {
    const first = dial();
    await until(() => first.heard.text === name, "the first greeting");
    proxy.switchTo(await serve("two;"));
    const second = dial();
    await until(() => second.heard.text === "two;", "the second greeting");
    first.socket.write("a");
    await until(() => first.heard.text === "one;a", "the first goes on");
    proxy.cutAll();
    await Promise.all([first.closed(), second.closed()]);
    expect(proxy.accepted).to.equal(2);
  });

  it("repeats a seed's faults", () => {
    const draw = (seed: number) => {
      const random = new SeededRandom(seed);
      return Array.from({ length: 20 }, () => between(random, 1, 1_000));
    };
    expect(draw(7)).to.deep.equal(draw(7));
    expect(draw(7)).to.not.deep.equal(draw(8));
    for (const number of draw(9)) expect(number).to.be.within(1, 1_000);
  });
});
