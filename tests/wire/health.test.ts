import { Code } from "@connectrpc/connect";
import {
  Health,
  HealthCheckResponse_ServingStatus as Serving,
} from "@devmesh/gen/grpc/health/v1/health_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { allWays, failureFrom } from "./all-ways.ts";
import { gather } from "./waiting.ts";
import type { Way } from "./ways.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const { check, list, watch } = Health.method;
const sandboxes = "devmesh.vm.v1.SandboxService";

for (const engine of engines) {
  describe(`health, HTTP/2 by ${engine}`, () => {
    let bed: Bed;
    let ways: Way[];
    let broken: unknown;
    beforeEach(async () => {
      broken = undefined;
      const stable = { name: "inference", check: async () => "3 models" };
      const storage = {
        name: "storage",
        check: async () => {
          if (broken !== undefined) throw broken;
          return "sqlite";
        },
      };
      bed = await startBed(engine, { readiness: [stable, storage] });
      // The services of gRPC have no REST routes, and are not in the app.
      const names = ["grpc-js client", "gRPC of connect-node", "createGrpcTransport"];
      ways = allWays(bed).filter(({ name }) => names.includes(name) || /^Connect|Web/.test(name));
    });
    afterEach(async () => {
      for (const way of ways) way.close();
      await bed.end();
    });

    it("says SERVING of the server and of each service, and NOT_FOUND of others", async () => {
      for (const way of ways) {
        for (const service of ["", sandboxes]) {
          const { status } = await way.unary(check, { service });
          expect(Serving[status], way.name).to.equal("SERVING");
        }
        const failure = await failureFrom(way.unary(check, { service: "no.such.Service" }));
        expect(failure.code, way.name).to.equal(Code.NotFound);
      }
    });

    it("lists the server and every service", async () => {
      for (const way of ways) {
        const { statuses } = await way.unary(list, {});
        expect(Object.keys(statuses), way.name).to.include.members(["", sandboxes]);
        for (const { status } of Object.values(statuses)) expect(status).to.equal(Serving.SERVING);
      }
    });

    it("says NOT_SERVING while a check fails", async () => {
      broken = new DevmeshError("UNAVAILABLE", "the disk is full");
      for (const way of ways) {
        expect((await way.unary(check, {})).status, way.name).to.equal(Serving.NOT_SERVING);
      }
    });

    it("tells watchers SERVING, and NOT_SERVING when the drain starts", async () => {
      const watches = ways.map((way) => way.serverStream(watch, { service: sandboxes }));
      const streams = watches.map((stream) => stream[Symbol.asyncIterator]());
      for (const stream of streams) {
        expect((await stream.next()).value?.status).to.equal(Serving.SERVING);
      }
      const next = streams.map((stream, i) =>
        stream.next().then(
          (result) => Serving[result.value?.status ?? 0],
          (error: unknown) => `${ways[i]?.name}: ${error}`,
        ),
      );
      const closing = bed.server.close(10_000);
      const told = await Promise.all(next);
      expect(told).to.deep.equal(streams.map(() => "NOT_SERVING"));
      for (const stream of streams) await stream.return?.().catch(() => {});
      for (const way of ways) way.close();
      await closing;
    });

    it("tells a watcher of a service that is not here so", async () => {
      for (const way of ways) {
        const got = await gather(way.serverStream(watch, { service: "no.such.Service" }));
        expect(got.map(({ status }) => Serving[status])).to.deep.equal(["SERVICE_UNKNOWN"]);
      }
    });

    it("is alive always, and ready while every check succeeds, each of them named", async () => {
      const ready = await fetch(`${bed.url}/readyz`);
      expect(ready.status).to.equal(200);
      expect(await ready.json()).to.deep.equal({
        status: "ok",
        checks: [
          { name: "inference", ok: true, detail: "3 models" },
          { name: "storage", ok: true, detail: "sqlite" },
        ],
      });
      broken = new DevmeshError("UNAVAILABLE", "the disk is full");
      const unready = await fetch(`${bed.url}/readyz`);
      expect(unready.status).to.equal(503);
      const { status, checks } = (await unready.json()) as { status: string; checks: object[] };
      expect(status).to.equal("unready");
      expect(checks[1]).to.deep.equal({ name: "storage", ok: false, detail: "the disk is full" });
      expect((await fetch(`${bed.url}/livez`)).status).to.equal(200);
    });

    it("does not show what a driver says of a failure", async () => {
      broken = new Error("password=hunter2");
      const unready = await fetch(`${bed.url}/readyz`);
      expect(unready.status).to.equal(503);
      expect(await unready.text()).to.not.contain("hunter2");
    });
  });
}
