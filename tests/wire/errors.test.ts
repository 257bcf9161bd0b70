import { Code } from "@connectrpc/connect";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { expect } from "chai";
import { allWays, collect, failureFrom } from "./all-ways.ts";
import { secretText } from "./fake-services.ts";
import { until } from "./waiting.ts";
import type { Way, WireFailure } from "./ways.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const { deleteSandbox } = SandboxService.method;
const { watchJob } = JobService.method;

for (const engine of engines) {
  describe(`errors on the wire, HTTP/2 by ${engine}`, () => {
    let bed: Bed;
    let ways: Way[];
    before(async () => {
      bed = await startBed(engine);
      ways = allWays(bed);
    });
    after(async () => {
      for (const way of ways) way.close();
      await bed.end();
    });

    function expectHidden(failure: WireFailure, name: string): void {
      expect(failure.code, name).to.equal(Code.Internal);
      expect(failure.reason, name).to.equal("INTERNAL");
      expect(JSON.stringify([failure.message, failure.metadata]), name).to.not.match(
        /hunter2|driver\.c/,
      );
    }

    /** The lines of one call, once the first is there. */
    async function linesOf(requestId: string) {
      const found = () => bed.lines.filter((line) => line.requestId === requestId);
      await until(() => found().length > 0, `a line of ${requestId}`);
      return found();
    }

    it("hides the text of whatever was thrown; the log has it once, under the request's id", async () => {
      for (const way of ways) {
        const failure = await failureFrom(way.unary(deleteSandbox, { id: "boom" }));
        expectHidden(failure, way.name);
        const lines = await linesOf(failure.requestId);
        expect(lines, way.name).to.have.length(1);
        expect(lines[0]).to.include({ level: "error", outcome: "INTERNAL" });
        expect(JSON.stringify(lines[0]), way.name).to.contain("driver.c:42");
      }
    });

    it("hands out the messages before an unknown error, hides it, and logs it once", async () => {
      for (const way of ways) {
        const headers = { "x-request-id": `breaks-${ways.indexOf(way)}` };
        const stream = way.serverStream(watchJob, { id: "breaks" }, { headers });
        const { got, failure } = await collect(stream);
        expect(got, way.name).to.have.length(2);
        if (failure === undefined) throw new Error(`${way.name}: it did not fail`);
        expectHidden(failure, way.name);
        expect(failure.requestId, way.name).to.equal(headers["x-request-id"]);
        const lines = await linesOf(failure.requestId);
        expect(lines, way.name).to.have.length(1);
        expect(JSON.stringify(lines[0])).to.contain(secretText.slice(-11));
      }
    });

    it("hands out the messages before a refusal, and the refusal with its facts", async () => {
      for (const way of ways) {
        const { got, failure } = await collect(way.serverStream(watchJob, { id: "vanishes" }));
        expect(got, way.name).to.have.length(2);
        expect(failure?.code, way.name).to.equal(Code.NotFound);
        expect(failure?.reason, way.name).to.equal("NOT_FOUND");
        expect(failure?.metadata, way.name).to.deep.equal({ resource: "job", id: "vanishes" });
        expect(failure?.message, way.name).to.equal('there is no job "vanishes"');
      }
    });

    it("says of a method that nobody wrote that it is not here", async () => {
      for (const way of ways) {
        if (way.clientStream === undefined) continue;
        const failure = await failureFrom(way.unary(JobService.method.getJob, { id: "x" }));
        expect(failure.code, way.name).to.equal(Code.Unimplemented);
      }
    });

    it("leaves no line in the log for calls that succeed", async () => {
      const before = bed.lines.length;
      for (const way of ways) await way.unary(deleteSandbox, { id: "ok" });
      expect(bed.lines.slice(before)).to.deep.equal([]);
    });
  });
}
