/**
 * A Connect transport on a grpc-js channel: one typed client API with
 * grpc-js's load balancing, keepalive and instrumentation below it.
 */
import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { Interceptor, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { runStreamingCall, runUnaryCall } from "@connectrpc/connect/protocol";
import {
  type CallOptions,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { pathOf, requestCommon } from "./call-request.ts";
import { fromGrpcError } from "./grpc-status.ts";

/** Where to connect and what to run around each call. */
export interface GrpcTransportOptions {
  /** `host:port`, or any grpc-js target such as `dns:///name:port` or `ipv4:a:1,b:2`. */
  readonly target: string;
  readonly interceptors?: readonly Interceptor[];
}

/** A transport that must be closed. */
export interface ClosableTransport extends Transport {
  close(): void;
}

const maxMessageBytes = 32 * 1024 * 1024;

const channelOptions: ChannelOptions = {
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  // A dead peer is noticed within 30 s even while a stream is silent.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_receive_message_length": maxMessageBytes,
  "grpc.max_send_message_length": maxMessageBytes,
};

/** Opens a channel lazily; plaintext, for private networks. */
export function createGrpcTransport(options: GrpcTransportOptions): ClosableTransport {
  const client = new Client(options.target, credentials.createInsecure(), channelOptions);
  const interceptors = [...(options.interceptors ?? [])];
  return {
    unary: (method, signal, timeoutMs, header, input, contextValues) =>
      runUnaryCall({
        req: { ...requestCommon(method, header, contextValues), stream: false, message: input },
        interceptors,
        ...(signal && { signal }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        next: (req) =>
          unaryCall(client, req.method, req.message, req.header, req.signal, timeoutMs),
      }),
    stream: (method, signal, timeoutMs, header, input, contextValues) =>
      runStreamingCall({
        req: { ...requestCommon(method, header, contextValues), stream: true, message: input },
        interceptors,
        ...(signal && { signal }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        next: (req) =>
          streamCall(client, req.method, req.message, req.header, req.signal, timeoutMs),
      }),
    close: () => client.close(),
  };
}

function unaryCall<I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethodUnary<I, O>,
  message: MessageShape<I>,
  header: Headers,
  signal: AbortSignal,
  timeoutMs: number | undefined,
): Promise<UnaryResponse<I, O>> {
  return new Promise((resolve, reject) => {
    let responseHeader: Metadata | undefined;
    const call = client.makeUnaryRequest<MessageShape<I>, MessageShape<O>>(
      pathOf(method),
      serializer(method.input),
      deserializer(method.output),
      message,
      toMetadata(header),
      callOptions(timeoutMs),
      (error, value) => {
        signal.removeEventListener("abort", onAbort);
        if (error) reject(fromGrpcError(error));
        else if (value !== undefined) {
          resolve({
            stream: false,
            service: method.parent,
            method,
            header: toHeaders(responseHeader),
            trailer: new Headers(),
            message: value,
          });
        }
      },
    );
    const onAbort = () => call.cancel();
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    call.on("metadata", (metadata) => {
      responseHeader = metadata;
    });
  });
}

async function streamCall<I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethodStreaming<I, O>,
  messages: AsyncIterable<MessageShape<I>>,
  header: Headers,
  signal: AbortSignal,
  timeoutMs: number | undefined,
): Promise<StreamResponse<I, O>> {
  const call = client.makeBidiStreamRequest<MessageShape<I>, MessageShape<O>>(
    pathOf(method),
    serializer(method.input),
    deserializer(method.output),
    toMetadata(header),
    callOptions(timeoutMs),
  );
  const onAbort = () => call.cancel();
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  call.once("close", () => signal.removeEventListener("abort", onAbort));
  const responseHeader = new Headers();
  call.once("metadata", (metadata) => copy(metadata, responseHeader));
  void send(call, messages);
  return {
    stream: true,
    service: method.parent,
    method,
    header: responseHeader,
    trailer: new Headers(),
    message: receive(call),
  };
}

async function send<I, O>(
  call: ClientDuplexStream<I, O>,
  messages: AsyncIterable<I>,
): Promise<void> {
  try {
    for await (const message of messages) {
      if (call.destroyed) return;
      if (!call.write(message)) await once(call, "drain");
    }
    call.end();
  } catch {
    // The producer failed or the call is over: the reader gets the call's error.
    call.cancel();
  }
}

async function* receive<I, O>(call: ClientDuplexStream<I, O>): AsyncGenerator<O> {
  try {
    for await (const message of call) yield message as O;
  } catch (error) {
    throw isServiceError(error) ? fromGrpcError(error) : error;
  } finally {
    call.cancel();
  }
}

function once<I, O>(call: ClientDuplexStream<I, O>, event: "drain"): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.removeListener(event, done);
      call.removeListener("close", done);
      resolve();
    };
    call.on(event, done);
    call.on("close", done);
  });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && "code" in error;
}

const serializers = new WeakMap<DescMessage, (message: never) => Buffer>();

function serializer<T extends DescMessage>(schema: T): (message: MessageShape<T>) => Buffer {
  let found = serializers.get(schema) as ((message: MessageShape<T>) => Buffer) | undefined;
  if (found === undefined) {
    found = (message) => {
      const bytes = toBinary(schema, create(schema, message as MessageInitShape<T>));
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    };
    serializers.set(schema, found);
  }
  return found;
}

function deserializer<T extends DescMessage>(schema: T): (bytes: Buffer) => MessageShape<T> {
  return (bytes) => fromBinary(schema, bytes);
}

function callOptions(timeoutMs: number | undefined): CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function toMetadata(header: Headers): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of header) metadata.add(key, value);
  return metadata;
}

function toHeaders(metadata: Metadata | undefined): Headers {
  const headers = new Headers();
  if (metadata !== undefined) copy(metadata, headers);
  return headers;
}

function copy(metadata: Metadata, headers: Headers): void {
  for (const [key, value] of Object.entries(metadata.getMap())) {
    if (typeof value === "string") headers.append(key, value);
  }
}
