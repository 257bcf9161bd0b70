/**
 * The OpenAI dialect at the public door: `POST /v1/chat/completions` and
 * `GET /v1/models`, on the same bound methods as every other way in.
 */
import { create } from "@bufbuild/protobuf";
import {
  InferService,
  ListModelsRequestSchema,
  type ListModelsResponse,
} from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import {
  ChatRequestSchema,
  type ChatResponse,
  ChatService,
  StreamChatRequestSchema,
  type StreamChatResponse,
} from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { type DevmeshError, statusOf, toDevmeshError } from "@devmesh/mesh/errors";
import {
  type Admit,
  type BoundMethod,
  callOf,
  type HttpExchange,
  type HttpHandler,
  methodNotAllowed,
} from "@devmesh/mesh/server";
import {
  type ChunkWriter,
  chunkWriter,
  toChatRequest,
  toCompletion,
  toModelList,
} from "./openai-convert.ts";

/** The largest body taken: 20 MiB. */
const maxBodyBytes = 20 * 1024 * 1024;

/** Handles the dialect's two routes; errors have the dialect's own shape. */
export function createOpenAiHandler(methods: readonly BoundMethod[], admit: Admit): HttpHandler {
  const find = (desc: unknown): BoundMethod => {
    const found = methods.find((method) => method.desc === desc);
    if (found === undefined)
      throw new Error("the OpenAI dialect needs ChatService and InferService");
    return found;
  };
  const chat = find(ChatService.method.chat);
  const streamChat = find(ChatService.method.streamChat);
  const listModels = find(InferService.method.listModels);
  return async (exchange) => {
    const { pathname } = exchange.url;
    try {
      if (pathname === "/v1/chat/completions") {
        if (exchange.verb !== "POST") throw methodNotAllowed(pathname, ["POST"]);
        await complete(exchange, { chat, streamChat, admit });
      } else if (pathname === "/v1/models") {
        if (exchange.verb !== "GET" && exchange.verb !== "HEAD")
          throw methodNotAllowed(pathname, ["GET"]);
        const res = await listModels.unary(
          create(ListModelsRequestSchema),
          callOf(exchange, "openai"),
        );
        exchange.json(200, toModelList((res.message as ListModelsResponse).models));
      } else return false;
    } catch (error) {
      refuse(exchange, error);
    }
    return true;
  };
}

/** What answers a conversation. */
interface ChatMethods {
  readonly chat: BoundMethod;
  readonly streamChat: BoundMethod;
  readonly admit: Admit;
}

async function complete(
  exchange: HttpExchange,
  { chat, streamChat, admit }: ChatMethods,
): Promise<void> {
  const init = callOf(exchange, "openai");
  if (!(await admit(chat.desc, exchange.headers, init.contextValues))) {
    // It refuses: the body, which says how to answer, is not read.
    await chat.unary(create(ChatRequestSchema), init);
  }
  const { request, stream, includeUsage } = toChatRequest(await exchange.body(maxBodyBytes));
  if (!stream) {
    const res = await chat.unary(request, init);
    exchange.json(200, toCompletion(res.message as ChatResponse, request.model));
    return;
  }
  const message = create(StreamChatRequestSchema, { request });
  const res = await streamChat.stream(once(message), init);
  const deltas = res.message[Symbol.asyncIterator]() as AsyncIterator<StreamChatResponse>;
  // The first piece comes before the head, so that a refusal has its status.
  const first = await deltas.next();
  exchange.startEventStream();
  await relay(exchange, first, deltas, chunkWriter(includeUsage, request.model));
}

async function relay(
  exchange: HttpExchange,
  first: IteratorResult<StreamChatResponse>,
  deltas: AsyncIterator<StreamChatResponse>,
  writer: ChunkWriter,
): Promise<void> {
  try {
    for (let next = first; next.done !== true; next = await deltas.next()) {
      for (const chunk of writer(next.value.delta)) {
        await exchange.write(`data: ${JSON.stringify(chunk)}\n\n`);
      }
    }
    exchange.res.end("data: [DONE]\n\n");
  } catch (error) {
    // To a client that has gone away there is nothing left to say.
    if (exchange.signal.aborted) return;
    await exchange.write(`data: ${JSON.stringify(errorBody(toDevmeshError(error)))}\n\n`);
    exchange.res.end();
  } finally {
    await deltas.return?.();
  }
}

function refuse(exchange: HttpExchange, error: unknown): void {
  if (exchange.res.headersSent) {
    exchange.fail(error);
    return;
  }
  const failure = toDevmeshError(error);
  const { requestId } = exchange.problem(error);
  if (requestId !== "") exchange.res.setHeader("x-request-id", requestId);
  const { allow } = failure.metadata;
  if (allow !== undefined) exchange.res.setHeader("allow", allow);
  if (failure.retryAfterMs !== undefined) {
    exchange.res.setHeader("retry-after", String(Math.ceil(failure.retryAfterMs / 1000)));
  }
  if (failure.reason === "UNAUTHENTICATED") {
    exchange.res.setHeader("www-authenticate", "Bearer");
  }
  exchange.dropBody();
  exchange.json(statusOf(failure.reason), errorBody(failure));
}

function errorBody({ reason, message, metadata }: DevmeshError): object {
  return {
    error: {
      message,
      type: statusOf(reason) < 500 ? "invalid_request_error" : "api_error",
      param: metadata.field ?? null,
      code: reason.toLowerCase(),
    },
  };
}

async function* once<T>(message: T) {
  yield message;
}
