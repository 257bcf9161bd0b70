/** Runs a client call: one signal for caller and time limit, the interceptors, the wire's errors. */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  type ContextValues,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { toConnectError } from "../errors/index.ts";
import { mapStream } from "../runtime/index.ts";
import { boundCall, type CallBounds } from "./call-bounds.ts";
import { CallHeaders, type HeadersSource } from "./call-headers.ts";

/** `/package.Service/Method`. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** What a request of ours has besides Connect's. */
export interface Bounded {
  /** When the time is over, in milliseconds since the epoch. Absent: never. */
  readonly deadlineMs: number | undefined;
  readonly bounds: CallBounds;
}

/** A call as it leaves the last interceptor. */
export type OutgoingUnary = UnaryRequest & Bounded;
/** A stream as it leaves the last interceptor. */
export type OutgoingStream = StreamRequest & Bounded;

/** Puts a call on the wire. */
export interface Wire {
  unary(req: OutgoingUnary): Promise<UnaryResponse>;
  stream(req: OutgoingStream): Promise<StreamResponse>;
}

type AnyFn = (req: UnaryRequest | StreamRequest) => Promise<UnaryResponse | StreamResponse>;

/** What Connect hands to a transport besides method and input. */
export interface CallOptions {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  readonly header: HeadersSource;
  readonly contextValues: ContextValues | undefined;
}

/** The interceptors around a wire; every call of a transport goes through here. */
export class CallRunner {
  readonly #chain: AnyFn;

  constructor(interceptors: readonly Interceptor[], wire: Wire) {
    const send: AnyFn = (req) =>
      req.stream ? wire.stream(req as OutgoingStream) : wire.unary(req as OutgoingUnary);
    this.#chain = interceptors.reduceRight<AnyFn>((next, intercept) => intercept(next), send);
  }

  /** Throws ConnectErrors only; at once when the signal aborts or the time is over. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<UnaryResponse<I, O>> {
    const bounds = boundCall(options.signal, options.timeoutMs);
    try {
      const message: MessageShape<I> = create(method.input, input);
      const req = requestOf(method, options, bounds, false, message);
      const res = await bounds.race(this.#chain(req as UnaryRequest));
      return res as UnaryResponse<I, O>;
    } catch (error) {
      throw toConnectError(error);
    } finally {
      bounds.end();
    }
  }

  /** The same for a stream; its messages throw ConnectErrors only. */
  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    input: AsyncIterable<MessageInitShape<I>>,
    options: CallOptions,
  ): Promise<StreamResponse<I, O>> {
    const bounds = boundCall(options.signal, options.timeoutMs);
    try {
      const message = mapStream(input, (init) => create(method.input, init));
      const req = requestOf(method, options, bounds, true, message);
      const res = (await bounds.race(this.#chain(req as StreamRequest))) as StreamResponse<I, O>;
      return { ...res, message: bounded(res.message, bounds) };
    } catch (error) {
      bounds.end();
      throw toConnectError(error);
    }
  }
}

function requestOf(
  method: DescMethod,
  options: CallOptions,
  bounds: CallBounds,
  stream: boolean,
  message: unknown,
) {
  return {
    stream,
    message,
    service: method.parent,
    method,
    requestMethod: "POST",
    url: pathOf(method),
    header: new CallHeaders(options.header),
    contextValues: options.contextValues ?? createContextValues(),
    signal: bounds.signal,
    bounds,
    deadlineMs: bounds.deadlineMs,
  };
}

/** Tells the wire to stop, by the signal that the last interceptor passed on. */
export function onAbort(req: OutgoingUnary | OutgoingStream, stop: () => void): void {
  // Where no interceptor has put another signal in, the bounds say the same for less.
  if (req.signal === req.bounds.signal) req.bounds.onAbort(stop);
  else if (req.signal.aborted) stop();
  else req.signal.addEventListener("abort", stop, { once: true });
}

/** The messages; a wire that is told to stop by the signal fails with the signal's reason. */
function bounded<T>(messages: AsyncIterable<T>, bounds: CallBounds): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const source = messages[Symbol.asyncIterator]();
      const onResult = (result: IteratorResult<T>) => {
        if (result.done === true) bounds.end();
        return result;
      };
      const onError = (error: unknown) => {
        bounds.end();
        throw toConnectError(bounds.signal.aborted ? bounds.signal.reason : error);
      };
      return {
        next: () => source.next().then(onResult, onError),
        return: async () => {
          bounds.end();
          await source.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
