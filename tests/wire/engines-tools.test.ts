import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { findGrpcurl } from "../../scripts/parts/grpcurl.ts";
import { log, need } from "../parts/need.ts";
import { authorization, type Bed, engines, startBed } from "./engines-bed.ts";

const run = promisify(execFile);
const service = "devmesh.vm.v1.SandboxService";

/** What a program said before it failed. */
async function said(result: ReturnType<typeof run>): Promise<string> {
  try {
    await result;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    return `${stdout}${stderr}`;
  }
  throw new Error("the program succeeded");
}

for (const engine of engines) {
  describe(`tools that know no proto, to the ${engine} engine`, () => {
    let bed: Bed;
    let host: string;
    before(async () => {
      bed = await startBed(engine);
      host = new URL(bed.url).host;
    });
    after(() => bed.close());

    describe("grpcurl", () => {
      let path: string;
      before(async function () {
        this.timeout(1_260_000);
        ({ path } = need(this, await findGrpcurl({ log })));
      });
      const header = ["-H", `authorization: ${authorization}`];
      const grpcurl = async (...args: string[]) =>
        String((await run(path, ["-plaintext", ...args])).stdout);

      it("lists, describes and calls", async () => {
        const names = await grpcurl(host, "list");
        expect(names.split("\n")).to.include.members([service, "grpc.health.v1.Health"]);
        expect(await grpcurl(host, "list", service)).to.include(`${service}.DeleteSandbox`);
        expect(await grpcurl(host, "describe", `${service}.DeleteSandbox`)).to.include("delete");
        const answer = await grpcurl(...header, host, `${service}/ListSandboxes`);
        expect(JSON.parse(answer)).to.deep.equal({ sandboxes: [{ id: "sbx_1", driver: "fake" }] });
      });

      it("shows an error with its reason", async () => {
        const data = ["-d", '{"id": "sbx_2"}'];
        const args = ["-plaintext", ...header, ...data, host, `${service}/DeleteSandbox`];
        const text = await said(run(path, args));
        expect(text).to.include("NotFound").and.include('there is no sandbox "sbx_2"');
        expect(text).to.include("NOT_FOUND");
      });

      it("streams and checks health", async () => {
        const data = ["-d", '{"id": "three"}'];
        const steps = await grpcurl(...header, ...data, host, "devmesh.api.v1.JobService/WatchJob");
        expect(steps.match(/"seq"/g)).to.have.length(3);
        expect(await grpcurl(host, "grpc.health.v1.Health/Check")).to.include("SERVING");
      });
    });

    describe("buf curl", () => {
      const require = createRequire(import.meta.url);
      const buf = join(dirname(require.resolve("@bufbuild/buf/package.json")), "bin", "buf");
      const curl = (protocol: string, id: string) =>
        run(process.execPath, [
          buf,
          "curl",
          ...["--protocol", protocol, "--http2-prior-knowledge", "--reflect-protocol", "grpc-v1"],
          ...["-H", `authorization: ${authorization}`, "-d", JSON.stringify({ id })],
          `${bed.url}/${service}/DeleteSandbox`,
        ]);
      // The grpc-js engine speaks gRPC alone over HTTP/2.
      const protocols = engine === "connect" ? ["grpc", "grpcweb", "connect"] : ["grpc"];
      for (const protocol of protocols) {
        it(`calls by ${protocol}, and shows an error with its reason`, async () => {
          expect(JSON.parse(String((await curl(protocol, "sbx_1")).stdout))).to.deep.equal({});
          const text = await said(curl(protocol, "sbx_2"));
          expect(text).to.include("not_found").and.include("google.rpc.ErrorInfo");
        });
      }
    });
  });
}
