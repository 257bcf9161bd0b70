import { once } from "node:events";
import { connect } from "node:net";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  Health,
  HealthCheckResponse_ServingStatus as Serving,
} from "@devmesh/gen/grpc/health/v1/health_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import {
  authorization,
  type Bed,
  clientsOf,
  engines,
  failureOf,
  startBed,
  waysIn,
} from "./engines-bed.ts";

const [ours] = waysIn;

for (const engine of engines) {
  describe(`the drain of the ${engine} engine`, () => {
    let bed: Bed;
    let connection: { transport: Transport; close(): void };
    beforeEach(async () => {
      bed = await startBed(engine);
      if (ours === undefined) throw new Error("no way in");
      connection = ours.open(bed.url);
    });
    afterEach(async () => {
      connection.close();
      await bed.close();
    });

    it("says NOT_SERVING, ends streams with DRAINING, and lets a call in flight finish", async () => {
      const { sandboxes, jobs } = clientsOf(connection.transport);
      const health = createClient(Health, connection.transport);
      const watch = health.watch({})[Symbol.asyncIterator]();
      expect((await watch.next()).value).to.have.property("status", Serving.SERVING);
      const stream = jobs.watchJob({ id: "endless" })[Symbol.asyncIterator]();
      await stream.next();
      const called = once(bed.fakes, "called");
      const call = sandboxes.probeHost({ refresh: true });
      await called;

      const closed = bed.server.close(30_000);
      const left = await failureOf(stream.next());
      expect(toDevmeshError(left).reason).to.equal("DRAINING");
      expect((await watch.next()).value).to.have.property("status", Serving.NOT_SERVING);
      const refused = connect(bed.server.port, "127.0.0.1");
      const [error] = await once(refused, "error");
      expect(error).to.have.property("code", "ECONNREFUSED");

      bed.fakes.emit("release");
      expect((await call).host).to.equal("here");
      await closed;
    });

    it("ends a stream of events over HTTP/1.1", async () => {
      const headers = { authorization, accept: "text/event-stream" };
      const res = await fetch(`${bed.url}/v1/jobs/endless/events`, { headers });
      const closed = bed.server.close(30_000);
      expect(await res.text()).to.include("DRAINING");
      await closed;
    });

    it("waits for an answer over HTTP/1.1, then ends the kept connection", async () => {
      const called = once(bed.fakes, "called");
      const res = fetch(`${bed.url}/v1/host?refresh=true`, { headers: { authorization } });
      await called;
      const closed = bed.server.close(30_000);
      bed.fakes.emit("release");
      expect((await res).status).to.equal(200);
      await (await res).text();
      await closed;
    });

    it("cuts what does not end in time", async () => {
      const { sandboxes } = clientsOf(connection.transport);
      const called = once(bed.fakes, "called");
      const aborted = once(bed.fakes, "aborted");
      const call = failureOf(sandboxes.probeHost({ refresh: true }));
      await called;
      await bed.server.close(10);
      expect(toDevmeshError(await call).reason).to.be.oneOf(["UNAVAILABLE", "CANCELLED"]);
      await aborted;
    });
  });
}
