import { once } from "node:events";
import { toBinary } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from "@devmesh/gen/grpc/health/v1/health_pb";
import { ServerReflection } from "@devmesh/gen/grpc/reflection/v1/reflection_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import { fromGrpcError } from "../../services/mesh/transport/grpc-status.ts";
import {
  authorization,
  type Bed,
  clientsOf,
  engines,
  failureOf,
  startBed,
  waysIn,
} from "./engines-bed.ts";

const path = "/devmesh.vm.v1.SandboxService/DeleteSandbox";
const limit = 50_000;

for (const engine of engines) {
  describe(`gRPC to the ${engine} engine`, () => {
    let bed: Bed;
    let raw: Client;
    let connection: { transport: Parameters<typeof clientsOf>[0]; close(): void };
    before(async () => {
      bed = await startBed(engine, { maxMessageBytes: limit });
      raw = new Client(new URL(bed.url).host, credentials.createInsecure());
      const [ours] = waysIn;
      if (ours === undefined) throw new Error("no way in");
      connection = ours.open(bed.url);
    });
    after(async () => {
      raw.close();
      connection.close();
      await bed.close();
    });

    /** Sends bytes as a message; resolves to the bytes that came, or rejects. */
    function call(to: string, bytes: Uint8Array, token = authorization): Promise<Buffer> {
      const metadata = new Metadata();
      if (token !== "") metadata.set("authorization", token);
      return new Promise((resolve, reject) => {
        const same = (value: Buffer) => value;
        raw.makeUnaryRequest(to, same, same, Buffer.from(bytes), metadata, (error, value) =>
          error ? reject(error) : resolve(value ?? Buffer.alloc(0)),
        );
      });
    }

    it("answers a client that knows nothing but grpc-js", async () => {
      const id = Buffer.from("sbx_1");
      expect(await call(path, Buffer.concat([Uint8Array.of(10, id.length), id]))).to.have.length(0);
      const error = await failureOf(
        call(path, Buffer.concat([Uint8Array.of(10, 1), id.subarray(0, 1)])),
      );
      expect(toDevmeshError(fromGrpcError(error as ServiceError))).to.include({
        reason: "NOT_FOUND",
        message: 'there is no sandbox "s"',
      });
    });

    it("refuses bytes that are no message, as the caller's fault", async () => {
      const error = (await failureOf(call(path, Uint8Array.of(10, 200, 1, 1)))) as ServiceError;
      expect(error.code).to.equal(Code.InvalidArgument);
      expect(toDevmeshError(fromGrpcError(error)).reason).to.equal("MALFORMED_BODY");
    });

    it("refuses a message that is too large", async () => {
      const id = Buffer.alloc(limit + 1, "x");
      const error = (await failureOf(call(path, id))) as ServiceError;
      expect(error.code).to.equal(Code.ResourceExhausted);
    });

    it("asks for the deployment's secret", async () => {
      for (const token of ["", "Bearer wrong"]) {
        const error = (await failureOf(call(path, new Uint8Array(), token))) as ServiceError;
        expect(error.code).to.equal(Code.Unauthenticated);
      }
    });

    it("does not know what is not served", async () => {
      for (const to of ["/devmesh.vm.v1.SandboxService/Nope", "/no.Such/Service", "/x"]) {
        const error = (await failureOf(call(to, new Uint8Array()))) as ServiceError;
        expect(error.code, to).to.equal(Code.Unimplemented);
      }
    });

    it("answers health checks without a secret", async () => {
      const check = (service: string) =>
        call(
          "/grpc.health.v1.Health/Check",
          toBinary(HealthCheckRequestSchema, {
            $typeName: "grpc.health.v1.HealthCheckRequest",
            service,
          }),
          "",
        );
      const serving = Buffer.from([8, Serving.SERVING]);
      expect(await check("")).to.deep.equal(serving);
      expect(await check(SandboxService.typeName)).to.deep.equal(serving);
      expect(await failureOf(check("no.Such"))).to.have.property("code", Code.NotFound);
      bed.fakes.ready = false;
      try {
        expect(await check("")).to.deep.equal(Buffer.from([8, Serving.NOT_SERVING]));
      } finally {
        bed.fakes.ready = true;
      }
    });

    it("lists and watches health", async () => {
      const health = createClient(Health, connection.transport);
      const { statuses } = await health.list({});
      expect(statuses[SandboxService.typeName]?.status).to.equal(Serving.SERVING);
      const abort = new AbortController();
      const { signal } = abort;
      const watch = health.watch({ service: "" }, { signal })[Symbol.asyncIterator]();
      expect((await watch.next()).value).to.have.property("status", Serving.SERVING);
      abort.abort();
      await failureOf(watch.next());
      const unknown = health.watch({ service: "no.Such" })[Symbol.asyncIterator]();
      expect((await unknown.next()).value).to.have.property("status", Serving.SERVICE_UNKNOWN);
    });

    it("holds a conversation: requests and answers in turn", async () => {
      const reflection = createClient(ServerReflection, connection.transport);
      const next = Promise.withResolvers<string>();
      async function* questions() {
        yield { messageRequest: { case: "listServices" as const, value: "" } };
        yield {
          messageRequest: { case: "fileContainingSymbol" as const, value: await next.promise },
        };
      }
      const answers = reflection.serverReflectionInfo(questions())[Symbol.asyncIterator]();
      const first = (await answers.next()).value?.messageResponse;
      const names = first?.case === "listServicesResponse" ? first.value.service : [];
      expect(names.map((service: { name: string }) => service.name)).to.include(
        SandboxService.typeName,
      );
      next.resolve(SandboxService.typeName);
      const second = (await answers.next()).value?.messageResponse;
      expect(second?.case).to.equal("fileDescriptorResponse");
      expect((await answers.next()).done).to.equal(true);
    });

    it("tells the caller what its own stream of requests failed with", async () => {
      const { blobs } = clientsOf(connection.transport);
      const called = once(bed.fakes, "called");
      async function* pieces() {
        yield { data: new Uint8Array(10) };
        await called;
        throw new Error("the disk cannot be read");
      }
      const aborted = once(bed.fakes, "aborted");
      const error = await failureOf(blobs.putBlob(pieces()));
      expect(String((error as { cause?: unknown }).cause)).to.include("the disk cannot be read");
      await aborted;
    });

    it("refuses a bad message in the middle of a stream of requests", async () => {
      const { blobs } = clientsOf(connection.transport);
      async function* pieces() {
        yield { data: new Uint8Array(10) };
        yield { sha256: "no hash" };
      }
      const error = toDevmeshError(await failureOf(blobs.putBlob(pieces())));
      expect(error.reason).to.equal("INVALID_FIELD");
      expect(error.metadata.field).to.equal("sha256");
    });

    it("carries binary metadata without changing it", async () => {
      const { sandboxes } = clientsOf(connection.transport);
      const headers = { "x-facts-bin": Buffer.from([0, 255, 10]).toString("base64") };
      await sandboxes.listSandboxes({}, { headers });
    });
  });
}
