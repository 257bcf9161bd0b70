/** Answers the contract's calls: convert, call, convert. */
import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type BuildPackRequest,
  BuildPackResponseSchema,
  type ContextService as ContextContract,
  type GetStatusRequest,
  GetStatusResponseSchema,
  type IngestRequest,
  IngestResponseSchema,
  type SearchRequest,
  SearchResponseSchema,
} from "@devmesh/gen/devmesh/mcp/v1/context_service_pb";
import type { Ingest } from "../documents/ingest.ts";
import type { PackBuilder } from "../packs/pack-builder.ts";
import type { Search } from "../search/search.ts";
import {
  fromIngestOutcome,
  fromPack,
  fromSearchAnswer,
  fromSearchHit,
  toDocumentInput,
  toPackRequest,
  toSearchQuery,
} from "./context-convert.ts";
import type { ContextStatus } from "./context-status.ts";

/** What the service is made from. */
export interface ContextServiceOptions {
  readonly ingest: Ingest;
  readonly search: Search;
  readonly packs: PackBuilder;
  readonly status: ContextStatus;
}

/** `devmesh.mcp.v1.ContextService`. */
export class ContextService implements ServiceImpl<typeof ContextContract> {
  readonly #ingest: Ingest;
  readonly #search: Search;
  readonly #packs: PackBuilder;
  readonly #status: ContextStatus;

  constructor({ ingest, search, packs, status }: ContextServiceOptions) {
    this.#ingest = ingest;
    this.#search = search;
    this.#packs = packs;
    this.#status = status;
  }

  async ingest(request: IngestRequest, { signal }: HandlerContext) {
    const documents = request.documents.map(toDocumentInput);
    const outcomes = await this.#ingest.ingest(documents, signal);
    return create(IngestResponseSchema, { outcomes: outcomes.map(fromIngestOutcome) });
  }

  async search(request: SearchRequest, { signal }: HandlerContext) {
    const answer = await this.#search.search(toSearchQuery(request), signal);
    return create(SearchResponseSchema, {
      items: answer.hits.map(fromSearchHit),
      receipt: fromSearchAnswer(answer),
    });
  }

  async buildPack(request: BuildPackRequest, { signal }: HandlerContext) {
    const pack = await this.#packs.build(toPackRequest(request), signal);
    return create(BuildPackResponseSchema, { pack: fromPack(pack, request.budgetTokens) });
  }

  async getStatus(_request: GetStatusRequest, _context: HandlerContext) {
    const { documents, chunks, vectors, model, dimensions } = await this.#status.read();
    return create(GetStatusResponseSchema, {
      documents: BigInt(documents),
      chunks: BigInt(chunks),
      vectors: BigInt(vectors),
      embeddingModel: model,
      dimensions,
    });
  }
}
