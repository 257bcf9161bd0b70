/** Heartbeats have a connection of their own: an upload that is stuck holds none of them up. */
import { once } from "node:events";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { HeartbeatResponseSchema } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SystemClock } from "@devmesh/mesh/runtime";
import { type ClosableTransport, createServiceTransport } from "@devmesh/mesh/transport";
import { expect } from "chai";
import { backendOf } from "../../services/vm/runner/backend.ts";

describe("heartbeats", () => {
  let server: Http2Server;
  const sessions = new Set<ServerHttp2Session>();
  const transports: ClosableTransport[] = [];
  let uploading: PromiseWithResolvers<void>;

  beforeEach(async () => {
    uploading = Promise.withResolvers();
    server = createServer();
    server.on("session", (session) => sessions.add(session));
    server.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      // Never read: what is sent fills the connection's window, and stays there.
      if (String(headers[":path"]).endsWith("/PutBlob")) {
        uploading.resolve();
        return;
      }
      const answer = toBinary(
        HeartbeatResponseSchema,
        create(HeartbeatResponseSchema, { draining: true }),
      );
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(answer.length, 1);
      stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.concat([prefix, answer]));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterEach(() => {
    for (const transport of transports.splice(0)) transport.close();
    for (const session of sessions) session.destroy();
    sessions.clear();
    server.close();
  });

  const transport = (ownConnection: boolean) => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const clock = new SystemClock();
    const made = createServiceTransport({ url, serviceToken: undefined, clock, ownConnection });
    transports.push(made);
    return made;
  };

  it("get through while an upload is stuck", async () => {
    const { blobs, heartbeats } = backendOf(transport(false), transport(true));
    const giveUp = new AbortController();
    const pieces = async function* () {
      for (let i = 0; i < 64; i++) yield { sha256: "", data: new Uint8Array(64 * 1024) };
      await new Promise(() => {});
    };
    const upload = blobs.putBlob(pieces(), { signal: giveUp.signal }).catch(() => {});
    await uploading.promise;
    const answer = await heartbeats.heartbeat({ runnerId: "run_1" }, { timeoutMs: 30_000 });
    expect(answer.draining).to.equal(true);
    expect(sessions.size).to.equal(2);
    giveUp.abort();
    await upload;
  });

  it("would share the connection of everything else without it", async () => {
    const first = backendOf(transport(false));
    const second = backendOf(transport(false));
    await first.heartbeats.heartbeat({ runnerId: "run_1" });
    await second.heartbeats.heartbeat({ runnerId: "run_1" });
    expect(sessions.size).to.equal(1);
  });
});
