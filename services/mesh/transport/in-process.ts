/**
 * A Connect transport to services of the same process: no socket and no
 * serialisation, but the same interceptors, errors, deadlines and signals.
 */
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { createContextValues, type Interceptor, type Transport } from "@connectrpc/connect";
import { runStreamingCall, runUnaryCall } from "@connectrpc/connect/protocol";
import { DevmeshError, toConnectError } from "../errors/index.ts";
import type { BoundMethod, CallInit } from "../server/methods.ts";
import { pathOf, requestCommon } from "./call-request.ts";

/** What to call and what to run around each call on the client's side. */
export interface InProcessOptions {
  readonly methods: readonly BoundMethod[];
  readonly interceptors?: readonly Interceptor[];
}

/** Makes the transport. Messages pass by reference: nobody changes one that was sent. */
export function createInProcessTransport(options: InProcessOptions): Transport {
  const byPath = new Map(options.methods.map((method) => [method.path, method]));
  const interceptors = [...(options.interceptors ?? [])];
  const find = (method: DescMethod): BoundMethod => {
    const path = pathOf(method);
    const found = byPath.get(path);
    if (found !== undefined) return found;
    throw toConnectError(
      new DevmeshError("UNIMPLEMENTED", `${path} is not served in this process`),
    );
  };
  const transport: Transport = {
    unary: async (method, signal, timeoutMs, header, input) =>
      runUnaryCall({
        req: { ...requestCommon(method, header), stream: false, message: input },
        interceptors,
        ...(signal && { signal }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        next: async (req) =>
          (await find(method).unary(req.message as Message, init(req, timeoutMs))) as never,
      }),
    stream: async (method, signal, timeoutMs, header, input) =>
      runStreamingCall({
        req: { ...requestCommon(method, header), stream: true, message: input },
        interceptors,
        ...(signal && { signal }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        next: async (req) =>
          (await find(method).stream(
            req.message as AsyncIterable<Message>,
            init(req, timeoutMs),
          )) as never,
      }),
  };
  return transport;
}

function init(
  req: { header: Headers; signal: AbortSignal; url: string },
  timeoutMs: number | undefined,
): CallInit {
  return {
    header: req.header,
    signal: req.signal,
    timeoutMs,
    protocolName: "in-process",
    requestMethod: "POST",
    url: req.url,
    // The callee's own: context values never cross a service's border.
    contextValues: createContextValues(),
  };
}
