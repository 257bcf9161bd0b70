import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { Code } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { expect } from "chai";
import { allWays, failureFrom } from "./all-ways.ts";
import { until, within } from "./waiting.ts";
import type { Way } from "./ways.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const { deleteSandbox } = SandboxService.method;
const { watchJob } = JobService.method;

for (const engine of engines) {
  describe(`deadlines and cancels, HTTP/2 by ${engine}`, () => {
    let bed: Bed;
    let ways: Way[];
    let count = 0;
    before(async () => {
      bed = await startBed(engine);
      ways = allWays(bed);
    });
    after(async () => {
      for (const way of ways) way.close();
      await bed.end();
    });

    /** Runs it over every way, with a name that no other call has. */
    async function everyWay(run: (way: Way, suffix: number) => Promise<void>): Promise<void> {
      for (const way of ways) {
        await run(way, count++).catch((cause: unknown) => {
          throw new Error(`${way.name}: ${cause}`, { cause });
        });
      }
    }

    it("tells the handler how long the caller waits", () =>
      everyWay(async (way, n) => {
        if (!way.tellsDeadline) return;
        const abort = new AbortController();
        const options = { timeoutMs: 50_000, signal: abort.signal };
        const call = way.unary(deleteSandbox, { id: `hold${n}` }, options);
        call.catch(() => {});
        const left = await bed.fake.marks.when(`hold${n} started`);
        expect(left).to.be.within(1, 50_000);
        abort.abort();
        await bed.fake.marks.when(`hold${n} aborted`);
      }));

    it("ends a unary call and its handler when the caller's time is over", () =>
      everyWay(async (way, n) => {
        if (!way.tellsDeadline) return;
        const call = way.unary(deleteSandbox, { id: `hold${n}` }, { timeoutMs: 300 });
        const failure = await within(failureFrom(call), "the refusal");
        expect(failure.code).to.equal(Code.DeadlineExceeded);
        await bed.fake.marks.when(`hold${n} aborted`);
      }));

    it("ends a stream and its handler when the caller's time is over", () =>
      everyWay(async (way, n) => {
        if (!way.tellsDeadline) return;
        const messages = way.serverStream(watchJob, { id: `silent${n}` }, { timeoutMs: 500 });
        const reading = (async () => {
          for await (const { step } of messages) expect(step.case).to.equal("event");
        })();
        const failure = await within(failureFrom(reading), "the refusal");
        expect(failure.code).to.equal(Code.DeadlineExceeded);
        await bed.fake.marks.when(`silent${n} ended`);
      }));

    it("aborts the handler of a unary call that its caller cancels", () =>
      everyWay(async (way, n) => {
        const abort = new AbortController();
        const call = way.unary(deleteSandbox, { id: `hold${n}` }, { signal: abort.signal });
        const ended = call.then(
          () => "answered",
          () => "failed",
        );
        await bed.fake.marks.when(`hold${n} started`);
        abort.abort();
        const reason = await bed.fake.marks.when(`hold${n} aborted`);
        expect(reason).to.be.instanceOf(Error);
        expect(await within(ended, "the caller's end")).to.equal("failed");
      }));

    it("aborts the handler of a stream that its caller cancels", () =>
      everyWay(async (way, n) => {
        const abort = new AbortController();
        const options = { signal: abort.signal };
        const reading = (async () => {
          for await (const _ of way.serverStream(watchJob, { id: `silent${n}` }, options)) {
            abort.abort();
          }
        })();
        const ended = reading.then(
          () => "ended",
          () => "failed",
        );
        expect(await bed.fake.marks.when(`silent${n} ended`)).to.be.instanceOf(Error);
        expect(await within(ended, "the caller's end")).to.equal("failed");
      }));

    it("ends the handler of a stream that its reader leaves", () =>
      everyWay(async (way, n) => {
        // Connect-node's clients need a signal for it.
        if (/connect-node|^Connect over|^gRPC-Web|by fetch/.test(way.name)) return;
        for await (const _ of way.serverStream(watchJob, { id: `silent${n}` })) break;
        await bed.fake.marks.when(`silent${n} ended`);
      }));

    it("does not take an upload for whole whose client disappears", async () => {
      const socket = connect(bed.port, "127.0.0.1");
      const session = connectHttp2(bed.url, { createConnection: () => socket });
      session.on("error", () => {});
      const stream = session.request(grpcHeaders("/devmesh.api.v1.BlobService/PutBlob"));
      stream.on("error", () => {});
      stream.write(Buffer.from([0, 0, 0, 0, 3, 0x12, 1, 65]));
      await bed.fake.marks.when("put started");
      socket.resetAndDestroy();
      expect(await bed.fake.marks.when("put ended")).to.equal("failed");
    });

    /** Streams over a connection that is then cut without a goodbye. */
    const cuts = [
      {
        name: "HTTP/1.1",
        open: async (id: string) => {
          const socket = connect(bed.port, "127.0.0.1");
          const accept = "Accept: text/event-stream";
          socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: x\r\n${accept}\r\n\r\n`);
          await once(socket, "data");
          return () => socket.resetAndDestroy();
        },
      },
      {
        name: "gRPC",
        open: async (id: string) => {
          const socket = connect(bed.port, "127.0.0.1");
          const session = connectHttp2(bed.url, { createConnection: () => socket });
          session.on("error", () => {});
          const stream = session.request(grpcHeaders("/devmesh.api.v1.JobService/WatchJob"));
          stream.on("error", () => {});
          const message = Buffer.concat([Buffer.from([0x0a, id.length]), Buffer.from(id)]);
          stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
          await once(stream, "data");
          return () => socket.resetAndDestroy();
        },
      },
    ];
    for (const { name, open } of cuts) {
      it(`ends the generator of a ${name} stream whose client disappears`, async () => {
        const id = `silent${count++}`;
        const cut = await within(open(id), "the first message");
        cut();
        expect(await bed.fake.marks.when(`${id} ended`)).to.be.instanceOf(Error);
        await until(
          () => bed.lines.some(({ outcome, rpc }) => outcome === "CANCELLED" && isWatch(rpc)),
          "the line in the log",
        );
      });
    }
  });

  describe(`the server's own time limit, HTTP/2 by ${engine}`, () => {
    it("ends a unary call with DEADLINE_EXCEEDED on each way, and its handler", async () => {
      const bed = await startBed(engine, { requestTimeoutMs: 100 });
      const ways = allWays(bed);
      try {
        for (const [n, way] of ways.entries()) {
          const failure = await failureFrom(way.unary(deleteSandbox, { id: `hold${n}` }));
          expect(failure.code, way.name).to.equal(Code.DeadlineExceeded);
          expect(failure.reason, way.name).to.equal("DEADLINE_EXCEEDED");
          expect(failure.message, way.name).to.contain("REQUEST_TIMEOUT_MS");
          await bed.fake.marks.when(`hold${n} aborted`);
        }
      } finally {
        for (const way of ways) way.close();
        await bed.end();
      }
    });
  });
}

function isWatch(rpc: unknown): boolean {
  return rpc === "devmesh.api.v1.JobService/WatchJob";
}

function grpcHeaders(path: string) {
  return { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
}
