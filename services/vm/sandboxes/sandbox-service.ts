/** The handlers of `devmesh.vm.v1.SandboxService`. */
import { hostname } from "node:os";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  DeleteSandboxRequest,
  ProbeHostRequest,
  SandboxService,
} from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { kSubject } from "@devmesh/mesh/context";
import { notFound } from "@devmesh/mesh/errors";
import type { Host } from "./host.ts";

/** The sandboxes of one host. */
export class SandboxServiceImpl implements ServiceImpl<typeof SandboxService> {
  readonly #host: Host;

  constructor({ host }: { readonly host: Host }) {
    this.#host = host;
  }

  async probeHost({ refresh }: ProbeHostRequest) {
    return { drivers: [...(await this.#host.probe(refresh))], host: hostname() };
  }

  async listSandboxes() {
    const sandboxes = this.#host.sandboxes().map(({ id, driver, jobId, createdAtMs }) => ({
      id,
      driver,
      jobId,
      createTime: timestampFromMs(createdAtMs),
    }));
    return { sandboxes };
  }

  async deleteSandbox({ id }: DeleteSandboxRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    const sandbox = this.#host.sandboxes().find((candidate) => candidate.id === id);
    if (sandbox === undefined) throw notFound("sandbox", id);
    await sandbox.delete();
    return {};
  }
}
