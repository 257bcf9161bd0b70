/** The client's process of the RPC bench: runs the rounds that the parent asks for. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport as createConnectGrpcTransport } from "@connectrpc/connect-node";
import {
  JobService,
  type WatchJobRequest,
  WatchJobRequestSchema,
  type WatchJobResponse,
  WatchJobResponseSchema,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import {
  type DeleteSandboxRequest,
  DeleteSandboxRequestSchema,
  DeleteSandboxResponseSchema,
  SandboxService,
} from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { silentLogger } from "@devmesh/mesh/log";
import { SortableIds, SystemClock } from "@devmesh/mesh/runtime";
import { servePrivately } from "@devmesh/mesh/server";
import {
  createInProcessTransport,
  createServiceTransport,
  serviceClientInterceptors,
} from "@devmesh/mesh/transport";
import { Client, credentials } from "@grpc/grpc-js";
import { cpuUs, type Figures, percentile } from "./bench.ts";
import { benchApp, type Round, serviceToken } from "./rpc-contract.ts";
import { traceIntoMemory } from "./rpc-tracing.ts";

interface Calls {
  unary(id: string): Promise<unknown>;
  /** Answers how many messages came. */
  stream(messages: number): Promise<number>;
}

const [, , name = "", port = ""] = process.argv;
const clock = new SystemClock();
const calls = name === "bare grpc-js" ? bareCalls() : await traced();
process.on("disconnect", () => process.exit(0));
process.on("message", (round: Round | "cpu") => {
  if (round === "cpu") {
    process.send?.(cpuUs());
    return;
  }
  const run = round.kind === "unary" ? unaryRound(round) : streamRound(round);
  run.then(
    (figures) => process.send?.(figures),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.send?.("ready");

async function unaryRound(round: Round & { kind: "unary" }): Promise<Figures> {
  const latencies: number[] = [];
  let left = round.calls;
  const startedAt = performance.now();
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const calledAt = performance.now();
      await calls.unary(`sbx_${left}`);
      latencies.push(performance.now() - calledAt);
    }
  };
  await Promise.all(Array.from({ length: round.inFlight }, worker));
  return {
    callsPerS: round.calls / ((performance.now() - startedAt) / 1000),
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

async function streamRound({ messages }: Round & { kind: "stream" }): Promise<Figures> {
  const startedAt = performance.now();
  const got = await calls.stream(messages);
  if (got !== messages) throw new Error(`${got} of ${messages} messages came`);
  return { messagesPerS: messages / ((performance.now() - startedAt) / 1000) };
}

async function traced(): Promise<Calls> {
  await traceIntoMemory();
  const transport = transportOf();
  const sandboxes = createClient(SandboxService, transport);
  const jobs = createClient(JobService, transport);
  // A deadline on every call, as services call each other.
  return {
    unary: (id) => sandboxes.deleteSandbox({ id }, { timeoutMs: 30_000 }),
    stream: async (messages) => {
      let got = 0;
      for await (const _ of jobs.watchJob({ id: "job_1", from: messages })) got += 1;
      return got;
    },
  };
}

function transportOf(): Transport {
  if (name === "in-process") {
    const options = { clock, ids: new SortableIds(clock), logger: silentLogger(), serviceToken };
    const { methods } = servePrivately(benchApp(), { ...options, requestTimeoutMs: 120_000 });
    const interceptors = serviceClientInterceptors({ serviceToken, clock });
    return createInProcessTransport({ methods, interceptors });
  }
  const url = `http://127.0.0.1:${port}`;
  if (!name.startsWith("connect client"))
    return createServiceTransport({ url, serviceToken, clock });
  return createConnectGrpcTransport({
    baseUrl: url,
    interceptors: serviceClientInterceptors({ serviceToken, clock }),
  });
}

function bareCalls(): Calls {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  return {
    unary: (id) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          "/devmesh.vm.v1.SandboxService/DeleteSandbox",
          (m: DeleteSandboxRequest) => Buffer.from(toBinary(DeleteSandboxRequestSchema, m)),
          (bytes) => fromBinary(DeleteSandboxResponseSchema, bytes),
          create(DeleteSandboxRequestSchema, { id }),
          (error, value) => (error ? reject(error) : resolve(value)),
        );
      }),
    stream: (messages) =>
      new Promise((resolve, reject) => {
        let got = 0;
        client
          .makeServerStreamRequest<WatchJobRequest, WatchJobResponse>(
            "/devmesh.api.v1.JobService/WatchJob",
            (m) => Buffer.from(toBinary(WatchJobRequestSchema, m)),
            (bytes) => fromBinary(WatchJobResponseSchema, bytes),
            create(WatchJobRequestSchema, { id: "job_1", from: messages }),
          )
          .on("data", () => {
            got += 1;
          })
          .on("error", reject)
          .on("end", () => resolve(got));
      }),
  };
}
