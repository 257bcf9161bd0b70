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

/** Conversations with models, passed on with the job that the caller's token is bound to. */
export class ChatServiceImpl implements ServiceImpl<typeof ChatService> {
  readonly #chat: Client<typeof ChatService>;

  constructor({ chat }: { readonly chat: Client<typeof ChatService> }) {
    this.#chat = chat;
  }

  chat(req: ChatRequest, context: HandlerContext) {
    return this.#chat.chat(withJob(req, context), callOptions(context));
  }

  async *streamChat({ request }: StreamChatRequest, context: HandlerContext) {
    if (request === undefined) throw invalidField("request", "is missing");
    yield* this.#chat.streamChat({ request: withJob(request, context) }, callOptions(context));
  }
}

/** A job's token speaks for its job only. */
function withJob(request: ChatRequest, context: HandlerContext): ChatRequest {
  const { jobId } = context.values.get(kPrincipal);
  return jobId === "" ? request : { ...request, jobId };
}
