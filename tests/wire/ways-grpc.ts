/** The way in of a bare grpc-js client, with its statuses decoded here and not by our transport. */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { ErrorInfoSchema } from "@devmesh/gen/google/rpc/error_details_pb";
import { StatusSchema } from "@devmesh/gen/google/rpc/status_pb";
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { type CallOptions, type Way, WireFailure } from "./ways.ts";

/** Opens a channel to a port of this host. */
export function rawGrpcWay(port: number): Way {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
  });
  return {
    name: "grpc-js client",
    tellsDeadline: true,
    unary: (method, input, options = {}) =>
      new Promise((resolve, reject) => {
        const call = client.makeUnaryRequest(
          pathOf(method),
          encode(method.input),
          decode(method.output),
          input,
          metadataOf(options),
          deadlineOf(options),
          (error, message) => {
            if (error !== null) reject(failureOf(error));
            else if (message !== undefined) resolve(message);
          },
        );
        options.signal?.addEventListener("abort", () => call.cancel());
      }),
    async *serverStream(method, input, options = {}) {
      const call = client.makeServerStreamRequest(
        pathOf(method),
        encode(method.input),
        decode(method.output),
        input,
        metadataOf(options),
        deadlineOf(options),
      ) as ClientReadableStream<MessageShape<typeof method.output>>;
      options.signal?.addEventListener("abort", () => call.cancel());
      try {
        for await (const message of call) yield message;
      } catch (error) {
        throw failureOf(error as ServiceError);
      } finally {
        call.cancel();
      }
    },
    clientStream: (method, inputs, options = {}) =>
      new Promise((resolve, reject) => {
        const call = client.makeClientStreamRequest(
          pathOf(method),
          encode(method.input),
          decode(method.output),
          metadataOf(options),
          deadlineOf(options),
          (error, message) => {
            if (error !== null) reject(failureOf(error));
            else if (message !== undefined) resolve(message);
          },
        );
        options.signal?.addEventListener("abort", () => call.cancel());
        const send = async () => {
          for await (const input of inputs) call.write(input);
          call.end();
        };
        send().catch(reject);
      }),
    close: () => client.close(),
  };
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function encode<T extends DescMessage>(schema: T) {
  return (input: MessageInitShape<T>): Buffer => {
    const message: MessageShape<T> = create(schema, input);
    return Buffer.from(toBinary(schema, message));
  };
}

function decode<T extends DescMessage>(schema: T) {
  return (bytes: Buffer): MessageShape<T> => fromBinary(schema, bytes);
}

function metadataOf({ headers = {} }: CallOptions): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function deadlineOf({ timeoutMs }: CallOptions): { deadline?: number } {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function failureOf(error: ServiceError): WireFailure {
  const [details] = error.metadata.get("grpc-status-details-bin");
  const status = details instanceof Buffer ? fromBinary(StatusSchema, details) : undefined;
  const any = status?.details.find(({ typeUrl }) => typeUrl.endsWith(ErrorInfoSchema.typeName));
  const info = any && fromBinary(ErrorInfoSchema, any.value);
  // grpc-js undoes only a part of what the protocol percent-encodes.
  return new WireFailure(decodeURIComponent(error.details), {
    code: error.code as number,
    reason: info?.reason ?? "",
    metadata: info?.metadata ?? {},
    requestId: String(error.metadata.get("x-request-id")[0] ?? ""),
  });
}
