/** The noun `llm`: ask the models. */
import type { Client } from "@connectrpc/connect";
import { type Caller, present } from "../caller.ts";
import type {
  InferResponse,
  InferService,
  ListModelsResponse,
} from "../gen/devmesh/api/v1/infer_service_pb.js";
import type { ChatDelta } from "../gen/devmesh/inference/v1/chat_pb.js";
import type { CallOptions } from "../options.ts";

/** A question to a model. */
export interface InferInput {
  /** The question. */
  readonly input: string;
  /** `provider/name`, a name, or a role. Default: the role `chat`. */
  readonly model?: string;
  /** How to answer; the model's defaults where nothing is said. */
  readonly params?: {
    readonly maxTokens?: number;
    readonly temperature?: number;
    readonly topP?: number;
    readonly stop?: readonly string[];
    readonly seed?: bigint;
  };
  /** Where it may be answered; narrows the server's policy, never widens it. */
  readonly policyOverride?: {
    readonly mode?: "local-only" | "local-first" | "cloud-first";
    readonly provider?: string;
  };
}

const inferTimeoutMs = 600_000;

/** The models. */
export class Llm {
  readonly #client: Client<typeof InferService>;
  readonly #caller: Caller;

  /** Made by `createDevmesh`. */
  constructor(deps: { readonly client: Client<typeof InferService>; readonly caller: Caller }) {
    this.#client = deps.client;
    this.#caller = deps.caller;
  }

  /** The whole answer. Never tried again by itself. Default time limit: 10 minutes. */
  infer(input: InferInput, options?: CallOptions): Promise<InferResponse> {
    const request = toRequest(input);
    return this.#caller.unary((o) => this.#client.infer(request, o), options, inferTimeoutMs);
  }

  /** The answer as it is made: first who answers, last the end with its usage. */
  async *stream(
    input: InferInput,
    options?: CallOptions,
  ): AsyncGenerator<ChatDelta, void, undefined> {
    const request = toRequest(input);
    for await (const piece of this.#caller.stream(
      (o) => this.#client.streamInfer(request, o),
      options,
    )) {
      yield present(piece.delta, "delta");
    }
  }

  /** The models, local ones first, and the providers, whether up or not. */
  models(options?: CallOptions): Promise<ListModelsResponse> {
    return this.#caller.unary((o) => this.#client.listModels({}, o), options);
  }
}

function toRequest(input: InferInput) {
  const { params, policyOverride } = input;
  return {
    input: input.input,
    model: input.model ?? "",
    ...(params && { params: { ...params, stop: [...(params.stop ?? [])] } }),
    ...(policyOverride && { policyOverride: { ...policyOverride } }),
  };
}
