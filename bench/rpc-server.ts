/** The server's process of the RPC bench; sends its port to the parent. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type WatchJobRequest,
  WatchJobRequestSchema,
  type WatchJobResponse,
  WatchJobResponseSchema,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import {
  DeleteSandboxRequestSchema,
  DeleteSandboxResponseSchema,
} from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { createLogger } from "@devmesh/mesh/log";
import { SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import { servePrivately, startServer } from "@devmesh/mesh/server";
import { Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";
import { cpuUs } from "./bench.ts";
import { benchApp, serviceToken, streamedMessage, unaryAnswer } from "./rpc-contract.ts";
import { traceIntoMemory } from "./rpc-tracing.ts";

const name = process.argv[2];
const port = name === "bare grpc-js" ? await serveBare() : await serveMesh();
process.on("disconnect", () => process.exit(0));
process.on("message", () => process.send?.(cpuUs()));
process.send?.(port);

async function serveMesh(): Promise<number> {
  await traceIntoMemory();
  const clock = new SystemClock();
  const app = benchApp();
  // The level of production: the line of each call is not written.
  const logger = createLogger({ service: "bench", level: "info", destination: { write() {} } });
  const options = { logger, clock, ids: new SortableIds(clock), serviceToken };
  const server = await startServer({
    ...servePrivately(app, { ...options, requestTimeoutMs: 120_000 }),
    logger,
    host: "127.0.0.1",
    port: 0,
    http2: name?.endsWith("connect engine") ? "connect" : "grpc-js",
  });
  return server.port;
}

/** grpc-js as its own examples use it, with protobuf-es for the messages. */
async function serveBare(): Promise<number> {
  const server = new Server();
  server.addService(
    {
      unary: {
        path: "/devmesh.vm.v1.SandboxService/DeleteSandbox",
        requestStream: false,
        responseStream: false,
        requestSerialize: () => Buffer.alloc(0),
        requestDeserialize: (bytes) => fromBinary(DeleteSandboxRequestSchema, bytes),
        responseSerialize: (m) => Buffer.from(toBinary(DeleteSandboxResponseSchema, m)),
        responseDeserialize: (bytes) => fromBinary(DeleteSandboxResponseSchema, bytes),
      },
      stream: {
        path: "/devmesh.api.v1.JobService/WatchJob",
        requestStream: false,
        responseStream: true,
        requestSerialize: () => Buffer.alloc(0),
        requestDeserialize: (bytes) => fromBinary(WatchJobRequestSchema, bytes),
        responseSerialize: (m) => Buffer.from(toBinary(WatchJobResponseSchema, m)),
        responseDeserialize: (bytes) => fromBinary(WatchJobResponseSchema, bytes),
      },
    },
    {
      unary: (_call: unknown, callback: (error: null, value: object) => void) =>
        callback(null, unaryAnswer),
      stream: writeAll,
    },
  );
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
}

/** Writes while there is room, as a server that is kind to its memory does. */
function writeAll(call: ServerWritableStream<WatchJobRequest, WatchJobResponse>): void {
  let left = call.request.from;
  const more = () => {
    while (left > 0) {
      left -= 1;
      if (!call.write(streamedMessage)) {
        call.once("drain", more);
        return;
      }
    }
    call.end();
  };
  more();
}
