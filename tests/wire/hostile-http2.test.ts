/** What HTTP/2 allows and no client does: floods, resets, and blocks without an end. */
import { once } from "node:events";
import { connect as connectHttp2, type Settings } from "node:http2";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { expect } from "chai";
import {
  flag,
  frameType,
  greeting,
  headerBlock,
  headersFrame,
  http2Frame,
} from "./http2-frames.ts";
import { openRaw } from "./raw-socket.ts";
import { within } from "./waiting.ts";
import { rawGrpcWay } from "./ways-grpc.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const limit = 256 * 1024;
const path = "/devmesh.vm.v1.SandboxService/ProbeHost";
const call = {
  ":method": "POST",
  ":scheme": "http",
  ":path": path,
  ":authority": "127.0.0.1",
  "content-type": "application/grpc",
  te: "trailers",
};

for (const engine of engines) {
  describe(`hostile HTTP/2, by ${engine}`, function () {
    this.timeout(180_000);
    let bed: Bed;
    before(async () => {
      bed = await startBed(engine, { maxMessageBytes: limit });
    });
    after(() => bed.end());
    afterEach(async () => {
      const grpc = rawGrpcWay(bed.port);
      const { host } = await grpc.unary(SandboxService.method.probeHost, {});
      grpc.close();
      expect(host, "gRPC afterwards").to.equal("fake");
    });

    /** Greets, sends, and waits until the server has ended the connection. */
    async function sendUntilClosed(bytes: readonly Buffer[]): Promise<void> {
      const raw = await openRaw(bed.port);
      raw.socket.write(greeting);
      for (const part of bytes) if (!raw.socket.destroyed) raw.socket.write(part);
      await raw.closed();
    }

    it("ends a connection on which call after call is reset as it begins", async () => {
      const raw = await openRaw(bed.port);
      const ended = once(raw.socket, "close");
      const cancel = Buffer.of(0, 0, 0, 8);
      const storm = Array.from({ length: 4000 }, (_, i) => {
        const stream = 2 * i + 1;
        const reset = http2Frame(frameType.reset, 0, stream, cancel);
        return Buffer.concat([headersFrame(stream, call), reset]);
      });
      raw.socket.write(Buffer.concat([greeting, ...storm]));
      await ended;
    });

    it("stands a call that asks to continue and is reset in the same breath", async () => {
      const raw = await openRaw(bed.port);
      const begun = headersFrame(1, { ...call, expect: "100-continue" });
      const reset = http2Frame(frameType.reset, 0, 1, Buffer.of(0, 0, 0, 8));
      const ping = http2Frame(frameType.ping, 0, 0, Buffer.alloc(8, 7));
      raw.socket.write(Buffer.concat([greeting, begun, reset, ping]));
      await raw.says("\u0007".repeat(8));
      raw.socket.destroy();
    });

    it("tells how many calls one connection may have, and refuses those beyond", async () => {
      const session = connectHttp2(bed.url);
      session.on("error", () => {});
      const settings = once(session, "remoteSettings") as Promise<[Settings]>;
      const [{ maxConcurrentStreams = Infinity }] = await within(settings, "the settings");
      expect(maxConcurrentStreams).to.be.within(1, 10_000);
      session.destroy();
      const raw = await openRaw(bed.port);
      const open = Array.from({ length: maxConcurrentStreams + 1 }, (_, i) =>
        headersFrame(2 * i + 1, call),
      );
      raw.socket.write(Buffer.concat([greeting, ...open]));
      const last = 2 * maxConcurrentStreams + 1;
      const refusal = http2Frame(frameType.reset, 0, last, Buffer.of(0, 0, 0, 7));
      await raw.says(refusal.toString("latin1"));
      raw.socket.destroy();
    });

    it("ends a connection whose headers are larger than it takes", async () => {
      const session = connectHttp2(bed.url, { maxSendHeaderBlockLength: 10 * 1024 * 1024 });
      session.on("error", () => {});
      const stream = session.request({ ...call, "x-big": "x".repeat(1_000_000) });
      const statuses: unknown[] = [];
      stream.on("response", (head) => statuses.push(head[":status"]));
      stream.on("error", () => {});
      await within(new Promise((resolve) => stream.once("close", resolve)), "the end of the call");
      expect(statuses.filter((status) => status === 200)).to.deep.equal([]);
      session.destroy();
    });

    it("ends a header block that has no end", async () => {
      const part = headerBlock({ "x-more": "x".repeat(1000) });
      const begun = http2Frame(frameType.headers, 0, 1, headerBlock(call));
      const more = http2Frame(frameType.continuation, 0, 1, part);
      await sendUntilClosed([begun, ...Array<Buffer>(2000).fill(more)]);
    });

    it("ends a connection of empty frames that say nothing", async () => {
      const begun = headersFrame(1, call);
      const empty = http2Frame(frameType.continuation, 0, 1);
      await sendUntilClosed([begun, empty]);
    });

    it("ends a connection that sends what belongs to no call", async () => {
      await sendUntilClosed([http2Frame(frameType.data, flag.endStream, 1, Buffer.alloc(5))]);
    });

    it("ends a connection with a frame larger than it takes", async () => {
      await sendUntilClosed([http2Frame(frameType.data, 0, 1, Buffer.alloc(20_000))]);
    });

    // grpc-js answers a call when its message is whole; its own client sends no more by then.
    if (engine === "grpc-js") return;

    it("stops an upload that has its answer", async () => {
      const session = connectHttp2(bed.url);
      session.on("error", () => {});
      const stream = session.request({ ":method": "POST", ":path": path, ...grpcHeaders });
      stream.on("error", () => {});
      stream.resume();
      const closed = new Promise((resolve) => stream.once("close", resolve));
      // A frame that promises 5 MiB, and is never whole.
      stream.write(Buffer.concat([Buffer.of(0, 0, 0x50, 0, 0), Buffer.alloc(limit)]));
      await within(closed, "the end of the call");
      expect(session.destroyed).to.equal(false);
      session.destroy();
    });
  });
}

const grpcHeaders = { "content-type": "application/grpc", te: "trailers" };
