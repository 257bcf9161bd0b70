/** Readers that stop for good, and peers that are gone without a word: their streams end. */
import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import { Code } from "@connectrpc/connect";
import { expect } from "chai";
import { TcpProxy } from "../faults/tcp-proxy.ts";
import { floodSize } from "./fake-services.ts";
import { within } from "./waiting.ts";
import { type Bed, startBed } from "./wire-bed.ts";

const watchPath = "/devmesh.api.v1.JobService/WatchJob";

/** Connect's frame of `{"id": id}` as JSON. */
function watchBody(id: string): Buffer {
  const text = Buffer.from(JSON.stringify({ id }));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, text]);
}

describe("a reader that takes nothing more", function () {
  this.timeout(60_000);
  let bed: Bed;
  beforeEach(async () => {
    bed = await startBed("connect", { bounds: { stallTimeoutMs: 200 } });
  });
  afterEach(() => bed.end());

  it("is cut: server-sent events", async () => {
    const socket = connect(bed.port, "127.0.0.1");
    socket.on("error", () => {});
    const accept = "Accept: text/event-stream";
    socket.write(`GET /v1/jobs/flood/events HTTP/1.1\r\nHost: x\r\n${accept}\r\n\r\n`);
    await within(once(socket, "data"), "the first message");
    socket.pause();
    await bed.fake.marks.when("flood ended");
    expect(bed.fake.produced).to.be.below(floodSize);
    socket.destroy();
  });

  it("is cut: Connect over HTTP/1.1", async () => {
    const body = watchBody("flood");
    const socket = connect(bed.port, "127.0.0.1");
    socket.on("error", () => {});
    const head = [
      `POST ${watchPath} HTTP/1.1`,
      ...["Host: x", "Content-Type: application/connect+json", "Connect-Protocol-Version: 1"],
      `Content-Length: ${body.length}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    socket.write(body);
    await within(once(socket, "data"), "the first message");
    socket.pause();
    await bed.fake.marks.when("flood ended");
    expect(bed.fake.produced).to.be.below(floodSize);
    socket.destroy();
  });

  it("is cut: a stream of HTTP/2, and the others of its connection are not", async () => {
    const session = connectHttp2(bed.url);
    session.on("error", () => {});
    const stream = session.request({
      ":path": "/v1/jobs/flood/events",
      accept: "text/event-stream",
    });
    stream.on("error", () => {});
    const answered = once(stream, "response");
    stream.pause();
    await within(answered, "the head");
    await bed.fake.marks.when("flood ended");
    expect(bed.fake.produced).to.be.below(floodSize);
    const other = session.request({ ":path": "/v1/host" });
    const [head] = await within(once(other, "response"), "another answer");
    expect((head as Record<string, unknown>)[":status"]).to.equal(200);
    session.destroy();
  });

  it("is not one that waits for something to be said", async () => {
    const session = connectHttp2(bed.url);
    const quiet = session.request({
      ":path": "/v1/jobs/silent/events",
      accept: "text/event-stream",
    });
    quiet.on("error", () => {});
    await within(once(quiet, "data"), "its first message");
    const flood = session.request({
      ":path": "/v1/jobs/flood/events",
      accept: "text/event-stream",
    });
    flood.on("error", () => {});
    await within(once(flood, "response"), "the head");
    // By then the quiet one has waited for longer than the limit.
    await bed.fake.marks.when("flood ended");
    expect([quiet.closed, quiet.destroyed]).to.deep.equal([false, false]);
    session.destroy();
  });
});

describe("a caller of HTTP/2 that resets its call", () => {
  for (const [name, code] of [
    ["NO_ERROR", constants.NGHTTP2_NO_ERROR],
    ["PROTOCOL_ERROR", constants.NGHTTP2_PROTOCOL_ERROR],
    ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR],
    ["CANCEL", constants.NGHTTP2_CANCEL],
    ["ENHANCE_YOUR_CALM", constants.NGHTTP2_ENHANCE_YOUR_CALM],
  ] as const) {
    it(`has cancelled it, and the server broke nothing: ${name}`, async () => {
      const bed = await startBed("connect");
      const session = connectHttp2(bed.url);
      const headers = { "content-type": "application/connect+json" };
      const stream = session.request({ ...headers, ":method": "POST", ":path": watchPath });
      stream.on("error", () => {});
      stream.end(watchBody("silent"));
      await within(once(stream, "data"), "its first message");
      stream.close(code);
      const reason = await bed.fake.marks.when("silent ended");
      expect(reason).to.include({ code: Code.Canceled });
      session.destroy();
      await bed.end();
      expect(bed.lines.filter(({ level }) => level === "error")).to.deep.equal([]);
    });
  }
});

describe("an HTTP/2 peer that is gone without a word", function () {
  this.timeout(60_000);

  it("is noticed: its streams end", async () => {
    const bed = await startBed("connect", { bounds: { pingIntervalMs: 50 } });
    const proxy = await TcpProxy.open({ upstreamPort: bed.port });
    const session = connectHttp2(`http://127.0.0.1:${proxy.port}`);
    session.on("error", () => {});
    try {
      const stream = session.request({
        ":path": "/v1/jobs/silent/events",
        accept: "text/event-stream",
      });
      stream.on("error", () => {});
      await within(once(stream, "data"), "the first message");
      proxy.swallowAll();
      await bed.fake.marks.when("silent ended");
    } finally {
      session.destroy();
      await proxy.close();
      await bed.end();
    }
  });
});
