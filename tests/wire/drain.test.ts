import { once } from "node:events";
import { Agent, request } from "node:http";
import { Code } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { allWays, collect, failureFrom } from "./all-ways.ts";
import { openRaw } from "./raw-socket.ts";
import { within } from "./waiting.ts";
import type { Way } from "./ways.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const { deleteSandbox, probeHost } = SandboxService.method;
const { watchJob } = JobService.method;

for (const engine of engines) {
  describe(`the drain, HTTP/2 by ${engine}`, () => {
    let bed: Bed;
    let ways: Way[];
    beforeEach(async () => {
      bed = await startBed(engine);
      // Calls within the process end with their process.
      ways = allWays(bed).filter(({ name }) => name !== "createInProcessTransport");
    });
    afterEach(async () => {
      for (const way of ways) way.close();
      await bed.end();
    });

    it("ends streams with DRAINING on every way in", async () => {
      const started = ways.map((_, n) => bed.fake.marks.when(`silent${n} started`));
      const streams = ways.map((way, n) =>
        collect(way.serverStream(watchJob, { id: `silent${n}` })),
      );
      await Promise.all(started);
      const closing = bed.server.close(10_000);
      for (const [n, stream] of streams.entries()) {
        const { failure } = await within(stream, `the end of the stream of ${ways[n]?.name}`);
        expect(failure?.reason, ways[n]?.name).to.equal("DRAINING");
        expect(failure?.code, ways[n]?.name).to.equal(Code.Unavailable);
        await bed.fake.marks.when(`silent${n} ended`);
      }
      for (const way of ways) way.close();
      await within(closing, "the end of the drain");
    });

    it("waits for the unary calls that are under way, and answers them", async () => {
      const started = ways.map((_, n) => bed.fake.marks.when(`gate${n} started`));
      const calls = ways.map((way, n) => way.unary(deleteSandbox, { id: `gate${n}` }));
      await Promise.all(started);
      let closed = false;
      const closing = bed.server.close(30_000).then(() => {
        closed = true;
      });
      await refused(bed);
      expect(closed).to.equal(false);
      for (const [n, call] of calls.entries()) {
        bed.fake.marks.set(`gate${n} opened`);
        await within(call, `the answer of ${ways[n]?.name}`);
      }
      for (const way of ways) way.close();
      await within(closing, "the end of the drain");
    });

    it("says draining on a connection that is still open", async () => {
      const raw = await openRaw(bed.port);
      const gate = "DELETE /v1/sandboxes/gate HTTP/1.1\r\nHost: x\r\n\r\n";
      raw.socket.write(gate);
      await bed.fake.marks.when("gate started");
      const closing = bed.server.close(10_000);
      raw.socket.write("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
      bed.fake.marks.set("gate opened");
      const said = await raw.closed();
      expect(said).to.match(/^HTTP\/1\.1 200 OK/);
      // A request behind the answered one is either told, or its connection is ended.
      if (said.lastIndexOf("HTTP/1.1") > 0) expect(said).to.contain('"status":"draining"');
      await within(closing, "the end of the drain");
    });

    it("cuts after the grace what does not end, and tells its handler", async () => {
      const [way] = ways;
      const call = way?.unary(deleteSandbox, { id: "hold-never" }).catch(() => "cut");
      await bed.fake.marks.when("hold-never started");
      await within(bed.server.close(50), "the end of the drain");
      expect(await within(Promise.resolve(call), "the caller's end")).to.equal("cut");
      await bed.fake.marks.when("hold-never aborted");
    });

    it("closes idle connections at once", async () => {
      const agent = new Agent({ keepAlive: true });
      const asked = request(`${bed.url}/livez`, { agent }).end();
      const [res] = await once(asked, "response");
      res.resume();
      await once(res, "end");
      for (const way of ways) await way.unary(probeHost, {});
      // With a grace that no test waits for.
      await within(bed.server.close(600_000), "the end of the drain");
      agent.destroy();
    });

    it("may be closed twice, also at the same time", async () => {
      await within(Promise.all([bed.server.close(1_000), bed.server.close(1_000)]), "both ends");
      await within(bed.server.close(0), "the third end");
      await refused(bed);
    });

    it("refuses calls after its end", async () => {
      await bed.server.close(0);
      for (const way of ways) {
        const error = await failureFrom(way.unary(probeHost, {}, { timeoutMs: 5_000 })).catch(
          (cause: unknown) => cause,
        );
        expect(error, way.name).to.be.instanceOf(Error);
      }
    });
  });

  describe(`a port that is taken, HTTP/2 by ${engine}`, () => {
    it("is refused with UNAVAILABLE that names the port", async () => {
      const first = await startBed(engine);
      const error = await startBed(engine, { port: first.port }).catch((cause: unknown) => cause);
      await first.end();
      if (!(error instanceof DevmeshError)) throw new Error("it was not refused", { cause: error });
      expect(error.reason).to.equal("UNAVAILABLE");
      expect(error.message).to.contain(`port ${first.port} of 127.0.0.1 is taken`);
      expect(error.metadata).to.deep.equal({ port: String(first.port) });
    });
  });
}

/** A new connection does not come about any more. */
async function refused({ port }: Bed): Promise<void> {
  const error = await openRaw(port).catch((cause: unknown) => cause);
  expect((error as NodeJS.ErrnoException).code).to.equal("ECONNREFUSED");
}
