/**
 * The OpenAI dialect at the public door: `POST /v1/chat/completions`,
 * `POST /v1/responses` and `GET /v1/models`, on the same bound methods as
 * every other way in.
 */
import { create } from "@bufbuild/protobuf";
import {
  InferService,
  ListModelsRequestSchema,
  type ListModelsResponse,
} from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import type { ChatDelta } from "@devmesh/gen/devmesh/inference/v1/chat_pb";
import {
  type ChatRequest,
  ChatRequestSchema,
  type ChatResponse,
  ChatService,
  StreamChatRequestSchema,
  type StreamChatResponse,
} from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import {
  type Admit,
  type BoundMethod,
  type CallInit,
  callOf,
  type HttpExchange,
  type HttpHandler,
  methodNotAllowed,
  requireJson,
} from "@devmesh/mesh/server";
import type { Json } from "./json-reader.ts";
import { chunkWriter, toChatRequest, toCompletion, toModelList } from "./openai-convert.ts";
import { errorBody, inClientsWords, refuse } from "./openai-errors.ts";
import { completionParam, type ParamName, responsesParam } from "./openai-params.ts";
import { ResponseEvents, toResponse } from "./responses-answer.ts";
import { toResponsesRequest } from "./responses-request.ts";

/** The largest body taken: 20 MiB. */
const maxBodyBytes = 20 * 1024 * 1024;

/** Tells which types of tools no model was told of. */
const leftOutHeader = "x-devmesh-tools-left-out";

/** Routes of the dialect that clients may try and that are not here. */
const isOfDialect = /^\/v1\/(chat|responses|completions|embeddings)(\/|$)/;

/** Handles the dialect's routes; errors have the dialect's own shape. */
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
  const ways = new Map([
    ["/v1/chat/completions", readCompletion],
    ["/v1/responses", readResponse],
  ]);
  return async (exchange) => {
    const { pathname } = exchange.url;
    const read = ways.get(pathname);
    try {
      if (read !== undefined) {
        if (exchange.verb !== "POST") throw methodNotAllowed(pathname, ["POST"]);
        await converse(exchange, read, { chat, streamChat, admit });
      } else if (/^\/v1\/models(\/|$)/.test(pathname)) {
        await answerModels(exchange, listModels);
      } else if (isOfDialect.test(pathname)) {
        throw new DevmeshError("NO_SUCH_ROUTE", `there is nothing at ${pathname}`);
      } else return false;
    } catch (error) {
      refuse(exchange, error);
    }
    return true;
  };
}

/** `GET /v1/models`, or one of them by its id. */
async function answerModels(exchange: HttpExchange, listModels: BoundMethod): Promise<void> {
  const { pathname } = exchange.url;
  if (exchange.verb !== "GET" && exchange.verb !== "HEAD") {
    throw methodNotAllowed(pathname, ["GET"]);
  }
  const res = await listModels.unary(create(ListModelsRequestSchema), callOf(exchange, "openai"));
  const { models } = res.message as ListModelsResponse;
  const id = decoded(pathname.slice("/v1/models/".length));
  const list = toModelList(models);
  if (id === "") return exchange.json(200, list);
  const model = list.data.find((one) => one.id === id);
  if (model === undefined) {
    const text = `no provider serves the model ${JSON.stringify(id)}`;
    throw new DevmeshError("MODEL_NOT_FOUND", text, { metadata: { model: id } });
  }
  exchange.json(200, model);
}

/** The text without its escapes; as it is if they are broken: no model has such an id. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A conversation that was asked for, and how it is answered. */
interface Asked {
  readonly request: ChatRequest;
  readonly stream: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly paramOf: ParamName;
  whole(answer: ChatResponse): Json;
  events(): AnswerFrames;
}

/** Turns the pieces of an answer into frames of server-sent events. */
interface AnswerFrames {
  take(delta: ChatDelta | undefined): string[];
  /** After the last piece. */
  close(): string[];
  /** Instead of what is missing of an answer that broke. */
  fail(error: DevmeshError): string[];
}

function readCompletion(body: Uint8Array): Asked {
  const { request, stream, includeUsage } = toChatRequest(body);
  return {
    request,
    stream,
    paramOf: completionParam,
    whole: (answer) => toCompletion(answer, request.model),
    events: () => {
      const chunks = chunkWriter(includeUsage, request.model);
      return {
        take: (delta) => chunks(delta).map(dataFrame),
        close: () => ["data: [DONE]\n\n"],
        fail: (error) => [dataFrame(errorBody(error))],
      };
    },
  };
}

function readResponse(body: Uint8Array): Asked {
  const { request, stream, echo, leftOut, places } = toResponsesRequest(body);
  const frame = { model: request.model, echo };
  return {
    request,
    stream,
    paramOf: responsesParam(places),
    ...(leftOut.length > 0 && { headers: { [leftOutHeader]: headerList(leftOut) } }),
    whole: (answer) => toResponse(answer, frame),
    events: () => new ResponseEvents(frame),
  };
}

/** What answers a conversation. */
interface ChatMethods {
  readonly chat: BoundMethod;
  readonly streamChat: BoundMethod;
  readonly admit: Admit;
}

async function converse(
  exchange: HttpExchange,
  read: (body: Uint8Array) => Asked,
  { chat, streamChat, admit }: ChatMethods,
): Promise<void> {
  const init = callOf(exchange, "openai");
  if (!(await admit(chat.desc, exchange.headers, init.contextValues))) {
    // It refuses: the body, which says how to answer, is not read.
    await chat.unary(create(ChatRequestSchema), init);
  }
  requireJson(exchange);
  const asked = read(await exchange.body(maxBodyBytes));
  try {
    await answer(exchange, asked, init, { chat, streamChat });
  } catch (error) {
    refuse(exchange, error, asked.paramOf);
  }
}

async function answer(
  exchange: HttpExchange,
  asked: Asked,
  init: CallInit,
  { chat, streamChat }: Omit<ChatMethods, "admit">,
): Promise<void> {
  const { request, stream, headers = {} } = asked;
  if (!stream) {
    const res = await chat.unary(request, init);
    setHeaders(exchange, headers);
    exchange.json(200, asked.whole(res.message as ChatResponse));
    return;
  }
  const message = create(StreamChatRequestSchema, { request });
  const res = await streamChat.stream(once(message), init);
  const deltas = res.message[Symbol.asyncIterator]() as AsyncIterator<StreamChatResponse>;
  // The first piece comes before the head, so that a refusal has its status.
  const first = await deltas.next();
  setHeaders(exchange, headers);
  exchange.startEventStream();
  await relay(exchange, first, deltas, asked);
}

async function relay(
  exchange: HttpExchange,
  first: IteratorResult<StreamChatResponse>,
  deltas: AsyncIterator<StreamChatResponse>,
  asked: Asked,
): Promise<void> {
  const frames = asked.events();
  try {
    for (let next = first; next.done !== true; next = await deltas.next()) {
      for (const frame of frames.take(next.value.delta)) await exchange.write(frame);
    }
    exchange.res.end(frames.close().join(""));
  } catch (error) {
    // To a client that has gone away there is nothing left to say.
    if (exchange.signal.aborted) return;
    await exchange.write(frames.fail(inClientsWords(error, asked.paramOf)).join(""));
    exchange.res.end();
  } finally {
    await deltas.return?.();
  }
}

function setHeaders(exchange: HttpExchange, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) exchange.res.setHeader(name, value);
}

/** Names as a header takes them; what is no plain word, or too much, is told as `other`. */
function headerList(names: readonly string[]): string {
  const words = names.map((name) => (/^[a-z0-9_]{1,64}$/.test(name) ? name : "other"));
  return [...new Set(words)].slice(0, 20).join(", ");
}

function dataFrame(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

async function* once<T>(message: T) {
  yield message;
}
