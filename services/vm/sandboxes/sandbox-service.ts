/** The handlers of `devmesh.vm.v1.SandboxService`. */
import { hostname } from "node:os";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  DeleteSandboxRequest,
  ProbeHostRequest,
  SandboxService,
} from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { kSubject } from "@devmesh/mesh/context";
import type { Host } from "./host.ts";
import { toSandbox } from "./sandbox-convert.ts";

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
    return { sandboxes: this.#host.sandboxes().map(toSandbox) };
  }

  async deleteSandbox({ id }: DeleteSandboxRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    await this.#host.sandbox(id).delete();
    return {};
  }
}
