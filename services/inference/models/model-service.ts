/** Serves `ModelService`: converts, asks the registry, converts. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  CountTokensRequest,
  CountTokensResponseSchema,
  ListModelsRequest,
  ListModelsResponseSchema,
  ModelService,
} from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import type { Prices } from "../routing/prices.ts";
import type { Registry } from "../routing/registry.ts";
import { fromStatus } from "./model-convert.ts";
import type { TokenCounter } from "./token-counter.ts";

/** What the service needs. */
export interface ModelServiceOptions {
  readonly registry: Registry;
  readonly counter: TokenCounter;
  readonly prices: Prices;
}

/** `devmesh.inference.v1.ModelService`. */
export class ModelServiceImpl implements ServiceImpl<typeof ModelService> {
  readonly #registry: Registry;
  readonly #counter: TokenCounter;
  readonly #prices: Prices;

  constructor({ registry, counter, prices }: ModelServiceOptions) {
    this.#prices = prices;
    this.#registry = registry;
    this.#counter = counter;
  }

  async listModels(
    _request: ListModelsRequest,
    _context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListModelsResponseSchema>> {
    return fromStatus(await this.#registry.status(), this.#prices);
  }

  async countTokens(
    { model, texts }: CountTokensRequest,
    _context: HandlerContext,
  ): Promise<MessageInitShape<typeof CountTokensResponseSchema>> {
    const { counts, tokenizer, exact } = await this.#counter.count(model, texts);
    return { counts: [...counts], tokenizer, exact };
  }
}
