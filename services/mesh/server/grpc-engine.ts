/** Serves bound methods on grpc-js: the quickest way in for gRPC clients. */
import { setImmediate } from "node:timers/promises";
import { type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { createContextValues } from "@connectrpc/connect";
import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type MethodDefinition,
  Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { isProxied, kPeer, type Peer } from "../context/index.ts";
import { DevmeshError } from "../errors/index.ts";
import { UnreadMessage } from "../interceptors/unread-message.ts";
import { mapStream } from "../runtime/index.ts";
import type { CallHeaders } from "../transport/call-headers.ts";
import { toGrpcStatus } from "../transport/grpc-status.ts";
import { drained, readMessages } from "../transport/grpc-streams.ts";
import { toHeaders, toMetadata } from "../transport/metadata.ts";
import type { BoundMethod, CallInit } from "./methods.ts";

/** Bounds of the engine. */
export interface GrpcEngineOptions {
  readonly methods: readonly BoundMethod[];
  /** The largest message taken, in bytes. */
  readonly maxMessageBytes: number;
  /** Calls that one connection may have at once. */
  readonly maxConcurrentStreams: number;
  /** Ends streams when the server shuts down; unary calls are waited for. */
  readonly shutdown: AbortSignal;
}

/** Makes a grpc-js server with the methods; it gets its sockets from the listener. */
export function createGrpcServer(options: GrpcEngineOptions): Server {
  const server = new Server({
    "grpc.max_receive_message_length": options.maxMessageBytes,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": options.maxConcurrentStreams,
    "grpc.enable_channelz": 0,
    // A peer that is gone without a word is noticed by the ping it does not answer.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 20_000,
  });
  for (const method of options.methods) {
    const { name } = method.desc;
    const implementation: UntypedServiceImplementation = {
      [name]:
        method.desc.methodKind === "unary"
          ? unaryHandler(method)
          : streamHandler(method, options.shutdown),
    };
    server.addService({ [name]: definitionOf(method) }, implementation);
  }
  return server;
}

/** Requests stay bytes here: what is malformed in them gets an error of ours, not grpc-js's. */
function definitionOf({ desc, path }: BoundMethod): MethodDefinition<Buffer, Message> {
  const streaming = desc.methodKind !== "unary";
  return {
    path,
    // One duplex handler serves all three kinds of streams.
    requestStream: streaming,
    responseStream: streaming,
    requestSerialize: (bytes) => bytes,
    requestDeserialize: (bytes) => bytes,
    responseSerialize: (message) => serialize(desc.output, message),
    responseDeserialize: (bytes) => fromBinary(desc.output, bytes),
  };
}

function serialize(schema: DescMethod["output"], message: Message): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function deserialize(schema: DescMethod["input"], bytes: Buffer): Message {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new DevmeshError("MALFORMED_BODY", `the request is no ${schema.typeName}`, { cause });
  }
}

function unaryHandler(method: BoundMethod): handleUnaryCall<Buffer, Message> {
  return async (call, callback) => {
    const abort = new AbortController();
    const onCancel = () => abort.abort(reasonOfEnd(call));
    call.once("cancelled", onCancel);
    try {
      const message = new UnreadMessage(() => deserialize(method.desc.input, call.request));
      const res = await method.unary(message, initOf(call, method.path, abort));
      // grpc-js calls the end of every call "cancelled".
      call.removeListener("cancelled", onCancel);
      call.sendMetadata(toMetadata(res.header));
      callback(null, res.message, trailerOf(res.trailer));
    } catch (error) {
      call.removeListener("cancelled", onCancel);
      callback(toGrpcStatus(error));
    }
  };
}

type StreamCall = ServerDuplexStream<Buffer, Message>;

function streamHandler(
  method: BoundMethod,
  shutdown: AbortSignal,
): handleBidiStreamingCall<Buffer, Message> {
  return (call) => void answer(method, call, shutdown);
}

async function answer(method: BoundMethod, call: StreamCall, shutdown: AbortSignal): Promise<void> {
  const abort = new AbortController();
  const onCancel = () => abort.abort(reasonOfEnd(call));
  const onShutdown = () => abort.abort(shutdown.reason);
  call.once("cancelled", onCancel);
  shutdown.addEventListener("abort", onShutdown, { once: true });
  if (shutdown.aborted) onShutdown();
  try {
    const errorOf = (error: unknown) => abort.signal.reason ?? error;
    // grpc-js ends the requests of a reset call as if they were whole. Asked to
    // read on, it looks at its connection and says "cancelled" in this turn.
    const checkEnd = async () => {
      call._read(0);
      await setImmediate();
      abort.signal.throwIfAborted();
    };
    const requests = readMessages<Buffer>(call, { errorOf, leave: () => {}, checkEnd });
    const messages = mapStream(requests, (bytes) => deserialize(method.desc.input, bytes));
    const res = await method.stream(messages, initOf(call, method.path, abort));
    call.sendMetadata(toMetadata(res.header));
    for await (const message of res.message) {
      if (call.cancelled) return;
      if (!call.write(message)) await drained(call, "cancelled");
    }
    call.removeListener("cancelled", onCancel);
    call.end(trailerOf(res.trailer));
  } catch (error) {
    call.removeListener("cancelled", onCancel);
    call.emit("error", toGrpcStatus(error));
  } finally {
    shutdown.removeEventListener("abort", onShutdown);
  }
}

type AnyCall = ServerUnaryCall<Buffer, Message> | StreamCall;

/** Why a call ended before its answer: its time was over, or its caller left. */
function reasonOfEnd(call: AnyCall): DevmeshError {
  return Date.now() >= Number(call.getDeadline())
    ? new DevmeshError("DEADLINE_EXCEEDED", "the caller's time limit was reached")
    : new DevmeshError("CANCELLED", "the caller went away");
}

function initOf(call: AnyCall, path: string, abort: AbortController): CallInit {
  const header = toHeaders(call.metadata);
  const timeoutMs = Number(call.getDeadline()) - Date.now();
  return {
    header,
    abort,
    signal: abort.signal,
    timeoutMs: Number.isFinite(timeoutMs) ? timeoutMs : undefined,
    protocolName: "grpc",
    requestMethod: "POST",
    url: path,
    contextValues: createContextValues().set(kPeer, new CallPeer(call, header)),
  };
}

/** Found out when it is asked for: few calls do. */
class CallPeer implements Peer {
  readonly #call: AnyCall;
  readonly #header: CallHeaders;

  constructor(call: AnyCall, header: CallHeaders) {
    this.#call = call;
    this.#header = header;
  }

  get address(): string {
    const peer = this.#call.getPeer();
    return peer.slice(0, peer.lastIndexOf(":"));
  }

  get host(): string {
    return this.#call.getHost();
  }

  get origin(): string {
    return this.#header.get("origin") ?? "";
  }

  get proxied(): boolean {
    return isProxied(this.#header);
  }
}

function trailerOf(trailer: Headers): Metadata | undefined {
  return trailer.keys().next().done === true ? undefined : toMetadata(trailer);
}
