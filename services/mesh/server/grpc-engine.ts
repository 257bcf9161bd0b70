/** Serves bound methods on grpc-js: the quickest way in for gRPC clients. */
import { type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { createContextValues } from "@connectrpc/connect";
import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Metadata as MetadataClass,
  type MethodDefinition,
  Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { kPeer, type Peer } from "../context/index.ts";
import { toGrpcStatus } from "../transport/grpc-status.ts";
import type { BoundMethod, CallInit } from "./methods.ts";

/** Bounds of the engine. */
export interface GrpcEngineOptions {
  readonly methods: readonly BoundMethod[];
  /** The largest message taken, in bytes. */
  readonly maxMessageBytes: number;
}

/** Makes a grpc-js server with the methods; it gets its sockets from the listener. */
export function createGrpcServer({ methods, maxMessageBytes }: GrpcEngineOptions): Server {
  const server = new Server({
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": -1,
  });
  for (const method of methods) {
    const { name } = method.desc;
    const implementation: UntypedServiceImplementation = {
      [name]: method.desc.methodKind === "unary" ? unaryHandler(method) : streamHandler(method),
    };
    server.addService({ [name]: definitionOf(method) }, implementation);
  }
  return server;
}

function definitionOf({ desc, path }: BoundMethod): MethodDefinition<Message, Message> {
  const streaming = desc.methodKind !== "unary";
  return {
    path,
    // One duplex handler serves all three kinds of streams.
    requestStream: streaming,
    responseStream: streaming,
    requestSerialize: (message) => serialize(desc.input, message),
    requestDeserialize: (bytes) => fromBinary(desc.input, bytes),
    responseSerialize: (message) => serialize(desc.output, message),
    responseDeserialize: (bytes) => fromBinary(desc.output, bytes),
  };
}

function serialize(schema: DescMethod["input"], message: Message): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unaryHandler(method: BoundMethod): handleUnaryCall<Message, Message> {
  return (call, callback) => {
    method.unary(call.request, initOf(call, method.path)).then(
      (res) => {
        sendHeader(call, res.header);
        callback(null, res.message, toMetadata(res.trailer));
      },
      (error: unknown) => callback(toGrpcStatus(error)),
    );
  };
}

function streamHandler(method: BoundMethod): handleBidiStreamingCall<Message, Message> {
  return (call) => {
    // The reader of a cancelled call gets its end through the signal.
    call.on("error", () => {});
    void answer(method, call);
  };
}

async function answer(
  method: BoundMethod,
  call: ServerDuplexStream<Message, Message>,
): Promise<void> {
  try {
    const res = await method.stream(call, initOf(call, method.path));
    sendHeader(call, res.header);
    for await (const message of res.message) {
      if (call.cancelled) return;
      if (!call.write(message)) await drained(call);
    }
    call.end(toMetadata(res.trailer));
  } catch (error) {
    call.emit("error", toGrpcStatus(error));
  }
}

function drained(call: ServerDuplexStream<Message, Message>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of ["drain", "cancelled", "close"]) call.removeListener(event, done);
      resolve();
    };
    for (const event of ["drain", "cancelled", "close"]) call.on(event, done);
    if (call.cancelled) done();
  });
}

type AnyCall = ServerUnaryCall<Message, Message> | ServerDuplexStream<Message, Message>;

function initOf(call: AnyCall, path: string): CallInit {
  const controller = new AbortController();
  call.once("cancelled", () => controller.abort());
  const header = toHeaders(call.metadata);
  const deadline = call.getDeadline();
  const timeoutMs = Number(deadline) - Date.now();
  return {
    header,
    signal: controller.signal,
    timeoutMs: Number.isFinite(timeoutMs) ? timeoutMs : undefined,
    protocolName: "grpc",
    requestMethod: "POST",
    url: path,
    contextValues: createContextValues().set(kPeer, peerOf(call, header)),
  };
}

function peerOf(call: AnyCall, header: Headers): Peer {
  const peer = call.getPeer();
  return {
    address: peer.slice(0, peer.lastIndexOf(":")),
    host: call.getHost(),
    origin: header.get("origin") ?? "",
    proxied: header.has("x-forwarded-for") || header.has("forwarded"),
  };
}

function toHeaders(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const [key, value] of Object.entries(metadata.getMap())) {
    if (typeof value === "string") headers.set(key, value);
  }
  return headers;
}

function sendHeader(call: AnyCall, header: Headers): void {
  call.sendMetadata(toMetadata(header));
}

function toMetadata(headers: Headers): Metadata {
  const metadata = new MetadataClass();
  for (const [key, value] of headers) metadata.set(key, value);
  return metadata;
}
