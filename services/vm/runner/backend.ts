/** The backend as a runner sees it: typed clients over one transport. */
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";

/** The services that a runner calls. */
export interface Backend {
  readonly runners: Client<typeof RunnerService>;
  readonly blobs: Client<typeof BlobService>;
  readonly context: Client<typeof ContextService>;
}

/** Clients over a transport. */
export function backendOf(transport: Transport): Backend {
  return {
    runners: createClient(RunnerService, transport),
    blobs: createClient(BlobService, transport),
    context: createClient(ContextService, transport),
  };
}
