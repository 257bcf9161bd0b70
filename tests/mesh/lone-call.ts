/** One interceptor around one handler: for tests of what it does alone. */
import { create, type DescMethod } from "@bufbuild/protobuf";
import {
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type UnaryRequest,
} from "@connectrpc/connect";
import { toDevmeshError } from "@devmesh/mesh/errors";

/** A unary call or a stream. */
export type Call = UnaryRequest | StreamRequest;

/** A request of a method; `init` is the message, or the messages of a stream. */
export function request(
  method: DescMethod,
  init: object,
  signal = new AbortController().signal,
): Call {
  const stream = method.methodKind !== "unary";
  const one = (value: object) => create(method.input, value as never);
  const all = async function* () {
    for (const value of init as object[]) yield one(value);
  };
  return {
    stream,
    service: method.parent,
    method,
    requestMethod: "POST",
    url: "",
    header: new Headers(),
    contextValues: createContextValues(),
    signal,
    message: stream ? all() : one(init),
  } as unknown as Call;
}

/** Runs a call; answers the error it ended with, if it did. */
export async function through(interceptor: Interceptor, req: Call, handle: (req: Call) => unknown) {
  const next = async (inner: Call) => ({ stream: false, message: await handle(inner) }) as never;
  try {
    await interceptor(next)(req);
    return undefined;
  } catch (error) {
    return toDevmeshError(error);
  }
}
