/** What both processes of the RPC bench agree on: the systems, the calls, the server's answers. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { JobLogSchema } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import {
  JobService,
  type WatchJobRequest,
  type WatchJobResponse,
  WatchJobResponseSchema,
} from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import {
  DeleteSandboxResponseSchema,
  SandboxService,
} from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { type App, type ServiceRegistration, serve } from "@devmesh/mesh/server";

/** What is compared. */
export type SystemName =
  | "bare grpc-js"
  | "mesh"
  | "mesh, connect engine"
  | "connect client, mesh server"
  | "connect client, connect engine"
  | "in-process";

/** One round, as the parent asks the client's process for it. */
export type Round =
  | { readonly kind: "unary"; readonly calls: number; readonly inFlight: number }
  | { readonly kind: "stream"; readonly messages: number };

/** The secret of the bench's deployment. */
export const serviceToken = "bench-secret-of-one-deployment";

const line = create(WatchJobResponseSchema, {
  step: {
    case: "event",
    value: {
      seq: 1,
      kind: {
        case: "log",
        value: create(JobLogSchema, { data: Buffer.from("a line of a log\n") }),
      },
    },
  },
});

/** As many messages as `from` says. */
export async function* lines({ from }: WatchJobRequest): AsyncGenerator<WatchJobResponse> {
  for (let i = 0; i < from; i++) yield line;
}

/** One message of the stream, for the floor's server. */
export const streamedMessage = line;

/** The answer to the unary call. */
export const unaryAnswer = create(DeleteSandboxResponseSchema);

/** The services of the mesh's side. */
export function benchApp(): App {
  return { services: benchServices(), readiness: [], close: async () => {} };
}

function benchServices(): ServiceRegistration[] {
  const sandboxes = { deleteSandbox: async () => unaryAnswer };
  const jobs = { watchJob: lines };
  return [
    serve(SandboxService, sandboxes as unknown as ServiceImpl<typeof SandboxService>),
    serve(JobService, jobs as unknown as ServiceImpl<typeof JobService>),
  ];
}
