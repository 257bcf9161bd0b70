/** The handlers of `devmesh.inference.v1.ChatService` at the public door: the same contract, passed on. */
import type { Client, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  ChatRequest,
  ChatService,
  StreamChatRequest,
} from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { kPrincipal } from "@devmesh/mesh/context";
import { invalidField } from "@devmesh/mesh/errors";
import { callOptions } from "../forward.ts";

/** What the handlers work with. */
export interface ChatServiceOptions {
  readonly chat: Client<typeof ChatService>;
  /** The deployment's policy as it holds now. Empty: the models' own. */
  readonly deploymentMode: () => string;
}

/** Conversations with models, passed on with the job that the caller's token is bound to. */
export class ChatServiceImpl implements ServiceImpl<typeof ChatService> {
  readonly #chat: Client<typeof ChatService>;
  readonly #deploymentMode: () => string;

  constructor({ chat, deploymentMode }: ChatServiceOptions) {
    this.#chat = chat;
    this.#deploymentMode = deploymentMode;
  }

  chat(req: ChatRequest, context: HandlerContext) {
    return this.#chat.chat(this.#bound(req, context), callOptions(context));
  }

  async *streamChat({ request }: StreamChatRequest, context: HandlerContext) {
    if (request === undefined) throw invalidField("request", "is missing");
    yield* this.#chat.streamChat({ request: this.#bound(request, context) }, callOptions(context));
  }

  /** A job's token speaks for its job only; nobody but this door says the deployment's policy. */
  #bound(request: ChatRequest, context: HandlerContext): ChatRequest {
    const { jobId } = context.values.get(kPrincipal);
    const deploymentMode = this.#deploymentMode();
    return { ...request, deploymentMode, ...(jobId !== "" && { jobId }) };
  }
}
