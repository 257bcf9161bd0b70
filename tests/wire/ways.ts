/** What every way into a server has alike for a test, and the ways that are Connect transports. */
import type {
  DescMessage,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { type Code, ConnectError, type Transport } from "@connectrpc/connect";
import {
  createGrpcTransport as createConnectGrpcTransport,
  createConnectTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "@devmesh/gen/google/rpc/error_details_pb";
import { createGrpcTransport, createInProcessTransport } from "@devmesh/mesh/transport";
import type { Bed } from "./wire-bed.ts";

/** What a call may carry. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  readonly headers?: Record<string, string>;
}

/** A call was refused: the same facts, whatever form they had on the wire. */
export class WireFailure extends Error {
  readonly code: Code;
  readonly reason: string;
  readonly metadata: Record<string, string>;
  readonly requestId: string;

  constructor(
    message: string,
    facts: { code: Code; reason: string; metadata: Record<string, string>; requestId: string },
  ) {
    super(message);
    this.code = facts.code;
    this.reason = facts.reason;
    this.metadata = facts.metadata;
    this.requestId = facts.requestId;
  }
}

/** One way in. Failures of the server are thrown as `WireFailure`. */
export interface Way {
  readonly name: string;
  /** False: the protocol has no word for a deadline. */
  readonly tellsDeadline: boolean;
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    options?: CallOptions,
  ): Promise<MessageShape<O>>;
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    input: MessageInitShape<I>,
    options?: CallOptions,
  ): AsyncIterable<MessageShape<O>>;
  /** Absent: the way has none. */
  clientStream?<I extends DescMessage, O extends DescMessage>(
    method: DescMethodClientStreaming<I, O>,
    inputs: AsyncIterable<MessageInitShape<I>>,
    options?: CallOptions,
  ): Promise<MessageShape<O>>;
  close(): void;
}

/** The failure that a Connect client's error stands for. */
export function failureOf(error: unknown): unknown {
  if (!(error instanceof ConnectError)) return error;
  const [info] = error.findDetails(ErrorInfoSchema);
  // A stream that fails names its request in the head and again in the end; clients join the two.
  const requestIds = new Set(error.metadata.get("x-request-id")?.split(", "));
  return new WireFailure(error.rawMessage, {
    code: error.code,
    reason: info?.reason ?? "",
    metadata: info?.metadata ?? {},
    requestId: [...requestIds].join(", "),
  });
}

async function* one<T>(value: T) {
  yield value;
}

/** A way in through a Connect transport. */
export function transportWay(name: string, transport: Transport, close = () => {}): Way {
  return {
    name,
    tellsDeadline: true,
    async unary(method, input, { signal, timeoutMs, headers } = {}) {
      try {
        return (await transport.unary(method, signal, timeoutMs, headers, input)).message;
      } catch (error) {
        throw failureOf(error);
      }
    },
    async *serverStream(method, input, { signal, timeoutMs, headers } = {}) {
      try {
        const res = await transport.stream(method, signal, timeoutMs, headers, one(input));
        yield* res.message;
      } catch (error) {
        throw failureOf(error);
      }
    },
    async clientStream(method, inputs, { signal, timeoutMs, headers } = {}) {
      try {
        const res = await transport.stream(method, signal, timeoutMs, headers, inputs);
        for await (const message of res.message) return message;
      } catch (error) {
        throw failureOf(error);
      }
      throw new Error("the stream had no answer");
    },
    close,
  };
}

/** What the ways need to know of a server. */
export type Served = Pick<Bed, "engine" | "url" | "port" | "methods">;

/** Every way that is a Connect transport and works with the bed's engine. */
export function transportWays({ url, port, engine, methods }: Served): Way[] {
  const baseUrl = url;
  const http1 = { baseUrl, httpVersion: "1.1" } as const;
  const overHttp2 = (name: string, make: (o: Http2Options) => Transport): Way => {
    const sessionManager = new Http2SessionManager(baseUrl);
    const transport = make({ baseUrl, httpVersion: "2", sessionManager });
    return transportWay(name, transport, () => sessionManager.abort());
  };
  const ours = createGrpcTransport({ target: `127.0.0.1:${port}` });
  const ways = [
    transportWay("Connect over HTTP/1.1", createConnectTransport(http1)),
    transportWay("gRPC-Web over HTTP/1.1", createGrpcWebTransport(http1)),
    overHttp2("gRPC of connect-node", createConnectGrpcTransport),
    transportWay("createGrpcTransport", ours, () => ours.close()),
    transportWay("createInProcessTransport", createInProcessTransport({ methods })),
  ];
  if (engine === "grpc-js") return ways;
  return [
    ...ways,
    overHttp2("Connect over HTTP/2", createConnectTransport),
    overHttp2("gRPC-Web over HTTP/2", createGrpcWebTransport),
  ];
}

interface Http2Options {
  readonly baseUrl: string;
  readonly httpVersion: "2";
  readonly sessionManager: Http2SessionManager;
}
