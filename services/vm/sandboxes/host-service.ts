/** The handlers of `devmesh.vm.v1.HostService`. */
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  FreezeSandboxRequest,
  GetSandboxRequest,
  HostService,
  ReconcileHostRequest,
  ResumeSandboxRequest,
} from "@devmesh/gen/devmesh/vm/v1/host_service_pb";
import { kSubject } from "@devmesh/mesh/context";
import type { Host } from "./host.ts";
import type { Reconciler } from "./reconciler.ts";
import { toDetail, toReconciled, toSandbox } from "./sandbox-convert.ts";

/** What the handlers work with. */
export interface HostServiceOptions {
  readonly host: Host;
  readonly reconciler: Reconciler;
}

/** One host, for its operator. */
export class HostServiceImpl implements ServiceImpl<typeof HostService> {
  readonly #host: Host;
  readonly #reconciler: Reconciler;

  constructor({ host, reconciler }: HostServiceOptions) {
    this.#host = host;
    this.#reconciler = reconciler;
  }

  async getSandbox({ id }: GetSandboxRequest) {
    const sandbox = this.#host.sandbox(id);
    // One that is being removed cannot tell any more.
    const stats = await sandbox.stats().catch(() => undefined);
    return { detail: toDetail(sandbox, stats) };
  }

  async freezeSandbox({ id }: FreezeSandboxRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    const sandbox = this.#host.sandbox(id);
    await sandbox.freeze();
    return { sandbox: toSandbox(sandbox) };
  }

  async resumeSandbox({ id }: ResumeSandboxRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    const sandbox = this.#host.sandbox(id);
    await sandbox.resume();
    return { sandbox: toSandbox(sandbox) };
  }

  async reconcileHost({ dryRun }: ReconcileHostRequest) {
    const before = this.#reconciler.last;
    const sweep = await this.#reconciler.sweep({ dryRun });
    return toReconciled(sweep, before, this.#reconciler.removed);
  }
}
