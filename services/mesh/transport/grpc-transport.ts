/**
 * A Connect transport on a grpc-js channel: one typed client API with
 * grpc-js's load balancing, keepalive and instrumentation below it.
 */
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type { Interceptor, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import {
  type CallOptions,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  credentials,
  type Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { DevmeshError } from "../errors/index.ts";
import { CallHeaders } from "./call-headers.ts";
import { CallRunner, type OutgoingStream, type OutgoingUnary, onAbort } from "./call-request.ts";
import { fromGrpcError, fromGrpcStatus } from "./grpc-status.ts";
import { drained, readMessages } from "./grpc-streams.ts";
import { toHeaders, toMetadata } from "./metadata.ts";

/** Where to connect and what to run around each call. */
export interface GrpcTransportOptions {
  /** `host:port`, or any grpc-js target such as `dns:///name:port` or `ipv4:a:1,b:2`. */
  readonly target: string;
  readonly interceptors?: readonly Interceptor[];
  /**
   * True: shares no TCP connection with other transports to the same target, so
   * that their large messages never hold its calls up. Default: false.
   */
  readonly ownConnection?: boolean;
  /** True: TLS, trusting what Node trusts (NODE_EXTRA_CA_CERTS too). Default: plaintext, for private networks. */
  readonly tls?: boolean;
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
  // A peer that was away for long is found again soon after it is back.
  "grpc.initial_reconnect_backoff_ms": 250,
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.max_receive_message_length": maxMessageBytes,
  "grpc.max_send_message_length": maxMessageBytes,
  // Retries are `retryInterceptor`'s: no message is kept for another try of grpc-js's own.
  "grpc.enable_retries": 0,
  "grpc.enable_channelz": 0,
};

/** Opens a channel lazily. */
export function createGrpcTransport(options: GrpcTransportOptions): ClosableTransport {
  const secure = options.tls === true ? credentials.createSsl() : credentials.createInsecure();
  const client = new Client(options.target, secure, {
    ...channelOptions,
    "grpc.use_local_subchannel_pool": options.ownConnection === true ? 1 : 0,
  });
  const channel = client.getChannel();
  const calls = new CallRunner(options.interceptors ?? [], {
    unary: (req) => unaryCall(channel, req),
    stream: async (req) => streamCall(client, req),
  });
  return {
    unary: (method, signal, timeoutMs, header, input, contextValues) =>
      calls.unary(method, input, { signal, timeoutMs, header, contextValues }),
    stream: (method, signal, timeoutMs, header, input, contextValues) =>
      calls.stream(method, input, { signal, timeoutMs, header, contextValues }),
    close: () => client.close(),
  };
}

/**
 * A unary call on the channel itself: `Client` would take a stack trace of
 * each call, a tenth of its time, for the text of an error that nobody sees.
 */
function unaryCall(
  channel: ReturnType<Client["getChannel"]>,
  req: OutgoingUnary,
): Promise<UnaryResponse> {
  const { method, deadlineMs = Number.POSITIVE_INFINITY } = req;
  return new Promise((resolve, reject) => {
    const call = channel.createCall(req.url, deadlineMs, null, null, null);
    let header: Metadata | undefined;
    let bytes: Buffer | undefined;
    call.start(toMetadata(req.header), {
      onReceiveMetadata(metadata) {
        header = metadata;
      },
      onReceiveMessage(message: Buffer) {
        bytes = message;
      },
      onReceiveStatus(end) {
        if (end.code === status.OK && bytes !== undefined) resolve(responseOf(req, bytes, header));
        else if (end.code === status.OK) reject(noMessage(req));
        else reject(fromGrpcStatus(end));
      },
    });
    onAbort(req, () => call.cancelWithStatus(status.CANCELLED, "the call was cancelled"));
    call.sendMessageWithContext({}, serializer(method.input)(req.message));
    call.halfClose();
    call.startRead();
  });
}

function responseOf(
  { method }: OutgoingUnary,
  bytes: Buffer,
  metadata: Metadata | undefined,
): UnaryResponse {
  const message = deserializer(method.output)(bytes);
  const [header, trailer] = [toHeaders(metadata), new CallHeaders()];
  return { stream: false, service: method.parent, method, header, trailer, message };
}

function noMessage(req: OutgoingUnary): DevmeshError {
  return new DevmeshError("INTERNAL", `${req.url} was answered without a message`);
}

type Call = ClientDuplexStream<Message, Message>;

function streamCall(client: Client, req: OutgoingStream): StreamResponse {
  const { method } = req;
  const call: Call = client.makeBidiStreamRequest<Message, Message>(
    req.url,
    serializer(method.input),
    deserializer(method.output),
    toMetadata(req.header),
    callOptions(req.deadlineMs),
  );
  onAbort(req, () => call.cancel());
  const header = new CallHeaders();
  call.once("metadata", (metadata) => {
    for (const [name, value] of toHeaders(metadata)) header.append(name, value);
  });
  const sending = new Sending(call, req.message);
  void sending.run();
  const message = readMessages<Message>(call, {
    errorOf: (error) => sending.failure ?? (isServiceError(error) ? fromGrpcError(error) : error),
    leave: () => call.cancel(),
  });
  const trailer = new CallHeaders();
  return { stream: true, service: method.parent, method, header, trailer, message };
}

/** Sends the messages of a call while it lives. */
class Sending {
  /** What the producer threw: the caller gets this, not that the call was cancelled for it. */
  failure: unknown;
  readonly #call: Call;
  readonly #messages: AsyncIterator<Message>;

  constructor(call: Call, messages: AsyncIterable<Message>) {
    this.#call = call;
    this.#messages = messages[Symbol.asyncIterator]();
  }

  async run(): Promise<void> {
    let over = false;
    this.#call.once("status", () => {
      over = true;
      // A producer that waits for something is told that nobody listens any more.
      this.#messages.return?.().catch(() => {});
    });
    try {
      for (let next = await this.#messages.next(); !over; next = await this.#messages.next()) {
        if (next.done === true) {
          this.#call.end();
          return;
        }
        if (!this.#call.write(next.value)) await drained(this.#call, "status");
      }
    } catch (error) {
      this.failure = error;
      this.#call.cancel();
    }
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && "code" in error;
}

const serializers = new WeakMap<DescMessage, (message: Message) => Buffer>();
const deserializers = new WeakMap<DescMessage, (bytes: Buffer) => Message>();

function serializer(schema: DescMessage): (message: Message) => Buffer {
  let found = serializers.get(schema);
  if (found === undefined) {
    found = (message) => {
      const bytes = toBinary(schema, message);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    };
    serializers.set(schema, found);
  }
  return found;
}

function deserializer(schema: DescMessage): (bytes: Buffer) => Message {
  let found = deserializers.get(schema);
  if (found === undefined) {
    found = (bytes) => fromBinary(schema, bytes);
    deserializers.set(schema, found);
  }
  return found;
}

function callOptions(deadlineMs: number | undefined): CallOptions {
  return deadlineMs === undefined ? {} : { deadline: deadlineMs };
}
