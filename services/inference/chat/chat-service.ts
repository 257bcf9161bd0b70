/** Serves `ChatService`: converts, asks the router, converts. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  ChatRequest,
  ChatResponseSchema,
  ChatService,
  StreamChatRequest,
  StreamChatResponseSchema,
} from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { invalidField } from "@devmesh/mesh/errors";
import type { Logger } from "@devmesh/mesh/log";
import { callerOf } from "../routing/caller.ts";
import type { RoutedPiece } from "../routing/route.ts";
import type { Router } from "../routing/router.ts";
import { collected } from "./chat-answer.ts";
import {
  fromPiece,
  fromReceipt,
  fromToolCall,
  fromUsage,
  toChatInput,
  toMode,
  toOverride,
} from "./chat-convert.ts";

/** What the service needs. */
export interface ChatServiceOptions {
  readonly router: Router;
  /** Where calls are logged that bring no logger of their own. */
  readonly logger: Logger;
}

/** `devmesh.inference.v1.ChatService`. */
export class ChatServiceImpl implements ServiceImpl<typeof ChatService> {
  readonly #router: Router;
  readonly #logger: Logger;

  constructor({ router, logger }: ChatServiceOptions) {
    this.#router = router;
    this.#logger = logger;
  }

  async *streamChat(
    { request }: StreamChatRequest,
    context: HandlerContext,
  ): AsyncGenerator<MessageInitShape<typeof StreamChatResponseSchema>> {
    if (request === undefined) throw invalidField("request", "is missing");
    for await (const piece of this.#answer(request, context)) yield { delta: fromPiece(piece) };
  }

  async chat(
    request: ChatRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ChatResponseSchema>> {
    const answer = await collected(this.#answer(request, context));
    const toolCalls = answer.toolCalls.map(fromToolCall);
    return {
      message: { role: "assistant", content: answer.text, toolCalls },
      finishReason: answer.finishReason,
      usage: fromUsage(answer.usage),
      route: fromReceipt(answer.receipt),
    };
  }

  #answer(request: ChatRequest, context: HandlerContext): AsyncIterable<RoutedPiece> {
    const input = toChatInput(request);
    const override = toOverride(request.policyOverride);
    const caller = callerOf(context.values, this.#logger, request.jobId);
    const deploymentMode = toMode("deployment_mode", request.deploymentMode);
    return this.#router.chat({ input, override, deploymentMode, caller }, context.signal);
  }
}
