import { join } from "node:path";
import { expect } from "chai";
import { findGrpcurl } from "../../scripts/parts/grpcurl.ts";
import { run } from "../../scripts/parts/run.ts";
import { log, need } from "../parts/need.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const buf = join(import.meta.dirname, "..", "..", "node_modules", ".bin", "buf");
const timeoutMs = 60_000;

for (const engine of engines) {
  describe(`tools of others, HTTP/2 by ${engine}`, function () {
    this.timeout(1_200_000);
    let bed: Bed;
    before(async () => {
      bed = await startBed(engine);
    });
    after(() => bed.end());

    describe("grpcurl without a proto file", () => {
      let path = "";
      before(async function () {
        ({ path } = need(this, await findGrpcurl({ log })));
      });
      const ask = (flags: string[], ...words: string[]) =>
        run(path, ["-plaintext", ...flags, `127.0.0.1:${bed.port}`, ...words], { timeoutMs });

      it("lists the services", async () => {
        const services = (await ask([], "list")).trim().split("\n");
        expect(services).to.include.members([
          "devmesh.api.v1.BlobService",
          "devmesh.vm.v1.SandboxService",
          "grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection",
        ]);
      });

      it("describes services and messages, options included", async () => {
        const service = await ask([], "describe", "devmesh.vm.v1.SandboxService");
        expect(service).to.contain("rpc DeleteSandbox (").and.to.contain('"/v1/sandboxes/{id}"');
        const message = await ask([], "describe", "devmesh.vm.v1.DeleteSandboxRequest");
        expect(message).to.contain("string id = 1");
      });

      it("calls, streams both ways, and asks for the health", async () => {
        const host = JSON.parse(await ask([], "devmesh.vm.v1.SandboxService/ProbeHost"));
        expect(host.host).to.equal("fake");
        const three = ["-d", '{"id":"three"}'];
        const events = await ask(three, "devmesh.api.v1.JobService/WatchJob");
        expect(events.match(/"seq": \d/g)).to.deep.equal(['"seq": 1', '"seq": 2', '"seq": 3']);
        const pieces = ["-d", '{"data":"YWJj"}{"data":"ZGVm"}'];
        const put = JSON.parse(await ask(pieces, "devmesh.api.v1.BlobService/PutBlob"));
        expect(put.sizeBytes).to.equal("6");
        const health = JSON.parse(await ask([], "grpc.health.v1.Health/Check"));
        expect(health.status).to.equal("SERVING");
      });

      it("shows a refusal with its code, its text and its reason", async () => {
        const flags = ["-d", '{"id":"gone"}'];
        const error = await ask(flags, "devmesh.vm.v1.SandboxService/DeleteSandbox").catch(String);
        expect(error).to.contain("NotFound").and.to.contain('there is no sandbox "gone"');
        expect(error).to.contain("NOT_FOUND");
      });

      it("shows a token", async () => {
        const flags = ["-H", "authorization: Bearer weak"];
        const error = await ask(flags, "devmesh.vm.v1.SandboxService/ProbeHost").catch(String);
        expect(error).to.contain("PermissionDenied").and.to.contain("SCOPE_MISSING");
      });
    });

    describe("buf curl by reflection", () => {
      // The grpc-js engine speaks gRPC alone over HTTP/2.
      for (const protocol of engine === "connect" ? ["grpc", "connect", "grpcweb"] : ["grpc"]) {
        it(`calls and streams with ${protocol}`, async () => {
          const ask = (data: string, rpc: string) => {
            const flags = ["--http2-prior-knowledge", "--protocol", protocol, "--data", data];
            return run(buf, ["curl", ...flags, `${bed.url}/${rpc}`], { timeoutMs });
          };
          const host = JSON.parse(await ask("{}", "devmesh.vm.v1.SandboxService/ProbeHost"));
          expect(host.host).to.equal("fake");
          const events = await ask('{"id":"three"}', "devmesh.api.v1.JobService/WatchJob");
          expect(events.match(/"seq": ?\d/g)).to.have.length(3);
          const error = await ask(
            '{"id":"gone"}',
            "devmesh.vm.v1.SandboxService/DeleteSandbox",
          ).catch(String);
          expect(error).to.match(/not_found|NOT_FOUND/);
          // What it prints of Connect's own errors leaves their details out.
          if (protocol !== "connect") expect(error).to.contain("google.rpc.ErrorInfo");
        });
      }
    });
  });
}
