import { once } from "node:events";
import { connect } from "node:net";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { expect } from "chai";
import { allWays } from "./all-ways.ts";
import { floodSize } from "./fake-services.ts";
import { settled, within } from "./waiting.ts";
import { engines, startBed } from "./wire-bed.ts";

const { watchJob } = JobService.method;
/** Buffers of both sides and of the kernel hold less than this; the whole stream is far more. */
const mostAhead = 3_000;

for (const engine of engines) {
  describe(`a slow reader, HTTP/2 by ${engine}`, function () {
    this.timeout(120_000);
    const names = ["REST over HTTP/1.1", "grpc-js client", "createGrpcTransport"];
    names.push("gRPC of connect-node", "Connect over HTTP/1.1", "createInProcessTransport");
    names.push("gRPC-Web over HTTP/1.1");
    const overHttp2 = ["REST over HTTP/2", "Connect over HTTP/2", "gRPC-Web over HTTP/2"];
    if (engine === "connect") names.push(...overHttp2);
    for (const name of names) {
      it(`holds the generator back and misses nothing: ${name}`, async () => {
        const bed = await startBed(engine);
        const ways = allWays(bed);
        try {
          const way = ways.find((w) => w.name === name);
          if (way === undefined) throw new Error("there is no such way");
          let read = 0;
          for await (const { step } of way.serverStream(watchJob, { id: "flood" })) {
            read += 1;
            const { seq } = step.value as JobEvent;
            if (seq !== read) throw new Error(`message ${seq} came as the ${read}.`);
            if (read !== 1) continue;
            const ahead = await settled(() => bed.fake.produced, "the generator stands still");
            expect(ahead).to.be.below(mostAhead);
          }
          expect(read).to.equal(floodSize);
        } finally {
          for (const way of ways) way.close();
          await bed.end();
        }
      });
    }

    it("lets others in while one does not read", async () => {
      const bed = await startBed(engine);
      try {
        const socket = connect(bed.port, "127.0.0.1");
        const accept = "Accept: text/event-stream";
        socket.write(`GET /v1/jobs/flood/events HTTP/1.1\r\nHost: x\r\n${accept}\r\n\r\n`);
        await within(once(socket, "data"), "the first message");
        socket.pause();
        const ahead = await settled(() => bed.fake.produced, "the generator stands still");
        expect(ahead).to.be.below(floodSize);
        expect((await fetch(`${bed.url}/v1/host`)).status).to.equal(200);
        socket.destroy();
        await bed.fake.marks.when("flood ended");
      } finally {
        await bed.end();
      }
    });
  });
}
