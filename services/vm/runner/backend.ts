/** The backend as a runner sees it: typed clients over one transport. */
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";

/** The services that a runner calls. */
export interface Backend {
  readonly runners: Client<typeof RunnerService>;
  /** The same for signs of life only. */
  readonly heartbeats: Client<typeof RunnerService>;
  readonly blobs: Client<typeof BlobService>;
  readonly context: Client<typeof ContextService>;
  /** The context plane as a job sees it: calls show its token, not the runner's. */
  forJob(jobToken: string): Pick<Backend, "context">;
}

/** Clients over a transport; heartbeats may have one of their own. */
export function backendOf(transport: Transport, heartbeats: Transport = transport): Backend {
  return {
    runners: createClient(RunnerService, transport),
    heartbeats: createClient(RunnerService, heartbeats),
    blobs: createClient(BlobService, transport),
    context: createClient(ContextService, transport),
    forJob: (jobToken) => ({
      context: createClient(ContextService, withToken(transport, jobToken)),
    }),
  };
}

/** The same transport, with another token in its calls. */
function withToken(transport: Transport, token: string): Transport {
  const shown = (init: ConstructorParameters<typeof Headers>[0]) => {
    const header = new Headers(init);
    header.set("authorization", `Bearer ${token}`);
    return header;
  };
  return {
    unary: (method, signal, timeoutMs, header, input, values) =>
      transport.unary(method, signal, timeoutMs, shown(header), input, values),
    stream: (method, signal, timeoutMs, header, input, values) =>
      transport.stream(method, signal, timeoutMs, shown(header), input, values),
  };
}
