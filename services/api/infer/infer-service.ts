/** The handlers of `devmesh.api.v1.InferService`: the public door to the models. */
import type { Client, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  InferRequest,
  InferService,
  ListModelsRequest,
  StreamInferRequest,
} from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import type { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import type { ModelService } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import { kPrincipal } from "@devmesh/mesh/context";
import { callOptions } from "../forward.ts";

/** What the handlers call. */
export interface InferServiceOptions {
  readonly chat: Client<typeof ChatService>;
  readonly models: Client<typeof ModelService>;
  /** The deployment's policy as it holds now. Empty: the models' own. */
  readonly deploymentMode: () => string;
}

/** Single questions to models, forwarded. */
export class InferServiceImpl implements ServiceImpl<typeof InferService> {
  readonly #chat: Client<typeof ChatService>;
  readonly #models: Client<typeof ModelService>;
  readonly #deploymentMode: () => string;

  constructor({ chat, models, deploymentMode }: InferServiceOptions) {
    this.#chat = chat;
    this.#models = models;
    this.#deploymentMode = deploymentMode;
  }

  async infer(req: InferRequest, context: HandlerContext) {
    const answer = await this.#chat.chat(this.#toChat(req, context), callOptions(context));
    const { message, finishReason, usage, route } = answer;
    return {
      text: message?.content ?? "",
      finishReason,
      ...(usage && { usage }),
      ...(route && { route }),
    };
  }

  async *streamInfer(req: StreamInferRequest, context: HandlerContext) {
    const request = { request: this.#toChat(req, context) };
    for await (const { delta } of this.#chat.streamChat(request, callOptions(context))) {
      if (delta !== undefined) yield { delta };
    }
  }

  async listModels(_req: ListModelsRequest, context: HandlerContext) {
    const { models, providers } = await this.#models.listModels({}, callOptions(context));
    return { models, providers };
  }

  #toChat(req: InferRequest | StreamInferRequest, context: HandlerContext) {
    const { model, input, params, policyOverride } = req;
    return {
      model,
      messages: [{ role: "user", content: input }],
      ...(params && { params }),
      ...(policyOverride && { policyOverride }),
      jobId: context.values.get(kPrincipal).jobId,
      deploymentMode: this.#deploymentMode(),
    };
  }
}
