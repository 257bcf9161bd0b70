/** Serves `EmbeddingService`: converts, asks the router, converts. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  EmbeddingService,
  EmbedRequest,
  EmbedResponseSchema,
} from "@devmesh/gen/devmesh/inference/v1/embedding_service_pb";
import type { Logger } from "@devmesh/mesh/log";
import { callerOf } from "../routing/caller.ts";
import type { Router } from "../routing/router.ts";
import { fromEmbeddings, toEmbedInput, toEmbedOverride } from "./embedding-convert.ts";

/** What the service needs. */
export interface EmbeddingServiceOptions {
  readonly router: Router;
  /** Where calls are logged that bring no logger of their own. */
  readonly logger: Logger;
}

/** `devmesh.inference.v1.EmbeddingService`. */
export class EmbeddingServiceImpl implements ServiceImpl<typeof EmbeddingService> {
  readonly #router: Router;
  readonly #logger: Logger;

  constructor({ router, logger }: EmbeddingServiceOptions) {
    this.#router = router;
    this.#logger = logger;
  }

  async embed(
    request: EmbedRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof EmbedResponseSchema>> {
    const input = toEmbedInput(request);
    const override = toEmbedOverride(request);
    const caller = callerOf(context.values, this.#logger, "");
    return fromEmbeddings(await this.#router.embed({ input, override, caller }, context.signal));
  }
}
