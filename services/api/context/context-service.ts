/** The handlers of `devmesh.api.v1.ContextService`: the public door to the context plane. */
import type { Client, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  BuildContextPackRequest,
  ContextService,
  IngestContextRequest,
  SearchContextRequest,
} from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import type { ContextService as ContextPlane } from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import { callOptions } from "../forward.ts";

/** Search, ingest and packs, forwarded. */
export class ContextServiceImpl implements ServiceImpl<typeof ContextService> {
  readonly #plane: Client<typeof ContextPlane>;

  constructor({ plane }: { readonly plane: Client<typeof ContextPlane> }) {
    this.#plane = plane;
  }

  async searchContext({ q, topK, filter }: SearchContextRequest, context: HandlerContext) {
    const request = { query: q, topK, ...(filter && { filter }) };
    const { items, receipt } = await this.#plane.search(request, callOptions(context));
    return { items, ...(receipt && { receipt }) };
  }

  async ingestContext({ documents }: IngestContextRequest, context: HandlerContext) {
    const { outcomes } = await this.#plane.ingest({ documents }, callOptions(context));
    return { outcomes };
  }

  async buildContextPack(req: BuildContextPackRequest, context: HandlerContext) {
    const { task, budgetTokens, filter } = req;
    const request = { task, budgetTokens, ...(filter && { filter }) };
    const { pack } = await this.#plane.buildPack(request, callOptions(context));
    return { ...(pack && { pack }) };
  }
}
