/**
 * A Connect transport to services of the same process: no socket and no
 * serialisation, but the same interceptors, errors, deadlines and signals.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import { createContextValues, type Interceptor, type Transport } from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";
import { untilAborted } from "../runtime/index.ts";
import type { BoundMethod, CallInit } from "../server/methods.ts";
import { CallRunner, type OutgoingStream, type OutgoingUnary, pathOf } from "./call-request.ts";

/** What to call and what to run around each call on the client's side. */
export interface InProcessOptions {
  readonly methods: readonly BoundMethod[];
  readonly interceptors?: readonly Interceptor[];
}

/** Makes the transport. Messages pass by reference: nobody changes one that was sent. */
export function createInProcessTransport(options: InProcessOptions): Transport {
  const byPath = new Map(options.methods.map((method) => [method.path, method]));
  const find = (method: DescMethod): BoundMethod => {
    const path = pathOf(method);
    const found = byPath.get(path);
    if (found !== undefined) return found;
    throw new DevmeshError("UNIMPLEMENTED", `${path} is not served in this process`);
  };
  const calls = new CallRunner(options.interceptors ?? [], {
    unary: async (req) => find(req.method).unary(req.message, initOf(req)),
    stream: async (req) => {
      const res = await find(req.method).stream(req.message, initOf(req));
      // A call over a network ends with its signal whatever the handler does: so does one in here.
      return { ...res, message: untilAborted(res.message, req.signal) };
    },
  });
  return {
    unary: (method, signal, timeoutMs, header, input, contextValues) =>
      calls.unary(method, input, { signal, timeoutMs, header, contextValues }),
    stream: (method, signal, timeoutMs, header, input, contextValues) =>
      calls.stream(method, input, { signal, timeoutMs, header, contextValues }),
  };
}

function initOf(req: OutgoingUnary | OutgoingStream): CallInit {
  return {
    header: req.header,
    signal: req.signal,
    timeoutMs: req.deadlineMs === undefined ? undefined : req.deadlineMs - Date.now(),
    protocolName: "in-process",
    requestMethod: "POST",
    url: req.url,
    // The callee's own: context values never cross a service's border.
    contextValues: createContextValues(),
  };
}
