/**
 * Binds contracts to their implementations behind one chain of interceptors.
 * Every way in (gRPC, REST, in process) calls the same bound methods.
 */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  type ContextValues,
  createContextValues,
  type HandlerContext,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";
import { readInterceptor, type UnreadMessage } from "../interceptors/unread-message.ts";
import { mapStream } from "../runtime/index.ts";
import { CallHeaders } from "../transport/call-headers.ts";
import type { ServiceRegistration } from "./service.ts";

/** What a way in knows about one call. */
export interface CallInit {
  readonly header: Headers;
  readonly signal: AbortSignal;
  /**
   * What aborts `signal`, where the way in hands it out: then no other signal is
   * put around it, and the way in itself ends the call after `timeoutMs`.
   */
  readonly abort?: AbortController;
  /** Time left in milliseconds when the call came in. Absent: no limit. */
  readonly timeoutMs: number | undefined;
  /** `grpc`, `rest`, `in-process`. */
  readonly protocolName: string;
  /** `GET`, `POST`, … */
  readonly requestMethod: string;
  readonly url: string;
  readonly contextValues?: ContextValues;
}

/** One method, ready to be called. */
export interface BoundMethod {
  readonly desc: DescMethod;
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Calls a unary method. Throws ConnectErrors only. An unread message is read once it is needed. */
  unary(message: Message | UnreadMessage, init: CallInit): Promise<UnaryResponse>;
  /** Calls a streaming method. Throws ConnectErrors only, also from the messages. */
  stream(messages: AsyncIterable<Message>, init: CallInit): Promise<StreamResponse>;
}

type AnyFn = (req: UnaryRequest | StreamRequest) => Promise<UnaryResponse | StreamResponse>;
type AnyImpl = (input: unknown, context: HandlerContext) => unknown;

/** Binds every method of the services; interceptors run in their order, the first outermost. */
export function bindMethods(
  services: readonly ServiceRegistration[],
  interceptors: readonly Interceptor[],
): BoundMethod[] {
  return services.flatMap(({ desc, impl }) =>
    desc.methods.map((method) => bindMethod(method, impl, interceptors)),
  );
}

function bindMethod(
  desc: DescMethod,
  impl: object,
  interceptors: readonly Interceptor[],
): BoundMethod {
  const handler = (impl as Record<string, AnyImpl | undefined>)[desc.localName]?.bind(impl);
  const invoke: AnyFn = async (req) => {
    if (handler === undefined) {
      throw new DevmeshError("UNIMPLEMENTED", `${desc.parent.typeName}/${desc.name} is not here`);
    }
    return answer(desc, handler, req);
  };
  // A chain of fewer interceptors may not have read the message.
  const read = readInterceptor()(invoke);
  const chain = interceptors.reduceRight<AnyFn>((next, interceptor) => interceptor(next), read);
  return {
    desc,
    path: `/${desc.parent.typeName}/${desc.name}`,
    async unary(message, init) {
      return (await chain(requestOf(desc, init, false, message))) as UnaryResponse;
    },
    async stream(messages, init) {
      return (await chain(requestOf(desc, init, true, messages))) as StreamResponse;
    },
  };
}

function requestOf(desc: DescMethod, init: CallInit, stream: boolean, message: unknown) {
  return {
    stream,
    message,
    service: desc.parent,
    method: desc,
    requestMethod: init.requestMethod,
    url: init.url,
    signal: init.signal,
    abort: init.abort,
    header: init.header,
    contextValues: init.contextValues ?? createContextValues(),
    // Not part of Connect's request; the handler's context is made from them.
    timeoutMs: init.timeoutMs,
    startedAtMs: performance.now(),
    protocolName: init.protocolName,
  } as unknown as UnaryRequest | StreamRequest;
}

type OwnRequest = (UnaryRequest | StreamRequest) & {
  readonly timeoutMs?: number | undefined;
  readonly startedAtMs?: number;
  readonly protocolName?: string;
};

async function answer(
  desc: DescMethod,
  handler: AnyImpl,
  req: OwnRequest,
): Promise<UnaryResponse | StreamResponse> {
  const header = new CallHeaders();
  const trailer = new CallHeaders();
  const context = handlerContext(desc, req, header, trailer);
  const common = { service: desc.parent, header, trailer };
  if (!req.stream) {
    const message = toMessage(desc.output, await handler(req.message, context));
    return { ...common, stream: false, method: desc as DescMethodUnary, message };
  }
  const output = isClientStreaming(desc)
    ? handler(req.message, context)
    : handler(await only(req.message), context);
  const message = isServerStreaming(desc)
    ? toMessages(desc.output, output as AsyncIterable<object>)
    : single(toMessage(desc.output, await output));
  return { ...common, stream: true, method: desc as DescMethodStreaming, message };
}

function handlerContext(
  desc: DescMethod,
  req: OwnRequest,
  responseHeader: Headers,
  responseTrailer: Headers,
): HandlerContext {
  const { timeoutMs, startedAtMs = 0 } = req;
  return {
    method: desc,
    service: desc.parent,
    signal: req.signal,
    timeoutMs: () =>
      timeoutMs === undefined ? undefined : timeoutMs - (performance.now() - startedAtMs),
    requestMethod: req.requestMethod,
    requestHeader: req.header,
    responseHeader,
    responseTrailer,
    protocolName: req.protocolName ?? "",
    values: req.contextValues,
    url: req.url,
  };
}

function isClientStreaming(desc: DescMethod): boolean {
  return desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming";
}

function isServerStreaming(desc: DescMethod): boolean {
  return desc.methodKind === "server_streaming" || desc.methodKind === "bidi_streaming";
}

/** Handlers may answer a plain object of the message's shape. */
function toMessage(schema: DescMessage, value: unknown): Message {
  const candidate = value as Message;
  return candidate.$typeName === schema.typeName
    ? candidate
    : create(schema, value as MessageInitShape<DescMessage>);
}

function toMessages(schema: DescMessage, values: AsyncIterable<object>): AsyncIterable<Message> {
  return mapStream(values, (value) => toMessage(schema, value));
}

async function* single(message: Message) {
  yield message;
}

async function only(messages: AsyncIterable<Message>): Promise<Message> {
  for await (const message of messages) return message;
  throw new DevmeshError("MALFORMED_BODY", "the request message is missing");
}
