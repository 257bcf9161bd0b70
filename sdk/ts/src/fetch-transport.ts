/**
 * Owns the Connect protocol over `fetch`, in binary only: half of what a page
 * would load for connect-web is its JSON. The protocol's pieces are
 * connect-es's own. A client stream goes out as one body, since `fetch` in a
 * browser cannot stream requests.
 */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues, type Transport } from "@connectrpc/connect";
import {
  createEnvelopeReadableStream,
  createMethodUrl,
  encodeEnvelope,
  runStreamingCall,
  runUnaryCall,
} from "@connectrpc/connect/protocol";
import {
  endStreamFlag,
  endStreamFromJson,
  errorFromJson,
  requestHeader,
  trailerDemux,
  validateResponse,
} from "@connectrpc/connect/protocol-connect";
import type { TransportSetup } from "./options.ts";

const compressedFlag = 1;

type HeadersInput = Parameters<Transport["unary"]>[3];

/** A Connect transport over the runtime's own `fetch`. */
export function createFetchTransport({ baseUrl, interceptors }: TransportSetup): Transport {
  const call = (method: DescMethod, timeoutMs: number | undefined, header: HeadersInput) => ({
    service: method.parent,
    requestMethod: "POST",
    url: createMethodUrl(baseUrl, method),
    header: requestHeader(method.methodKind, true, timeoutMs, header, false),
  });
  return {
    unary: (method, signal, timeoutMs, header, message, contextValues = createContextValues()) =>
      runUnaryCall<typeof method.input, typeof method.output>({
        interceptors,
        ...limits(signal, timeoutMs),
        req: { ...call(method, timeoutMs, header), method, stream: false, contextValues, message },
        next: async (request) => {
          const body = toBinary(method.input, request.message);
          const response = await post(request, new Uint8Array(body));
          const { isUnaryError, unaryError } = check(method, response);
          const [responseHeader, trailer] = trailerDemux(response.headers);
          if (isUnaryError) {
            throw errorFromJson((await response.json()) as JsonValue, responseHeader, unaryError);
          }
          return {
            stream: false,
            service: method.parent,
            method,
            header: responseHeader,
            trailer,
            message: fromBinary(method.output, new Uint8Array(await response.arrayBuffer())),
          };
        },
      }),
    stream: (method, signal, timeoutMs, header, message, contextValues = createContextValues()) =>
      runStreamingCall<typeof method.input, typeof method.output>({
        interceptors,
        ...limits(signal, timeoutMs),
        req: { ...call(method, timeoutMs, header), method, stream: true, contextValues, message },
        next: async (request) => {
          const body = await collect(method.input, request.message, request.signal);
          const response = await post(request, body);
          check(method, response);
          if (response.body === null) throw new TypeError("the answer has no body");
          const trailer = new Headers();
          return {
            ...request,
            header: response.headers,
            trailer,
            message: readMessages(method.output, response.body, response.headers, trailer),
          };
        },
      }),
  };
}

function limits(signal: AbortSignal | undefined, timeoutMs: number | undefined) {
  return {
    ...(signal && { signal }),
    ...(timeoutMs !== undefined && timeoutMs > 0 && { timeoutMs }),
  };
}

function post(
  request: { readonly url: string; readonly header: Headers; readonly signal: AbortSignal },
  body: Uint8Array<ArrayBuffer> | Blob,
): Promise<Response> {
  const { url, header: headers, signal } = request;
  // A redirect could carry the token to another host.
  return fetch(url, { method: "POST", redirect: "error", headers, signal, body });
}

function check(method: DescMethod, response: Response) {
  return validateResponse(method.methodKind, true, response.status, response.headers);
}

async function collect<I extends DescMessage>(
  input: I,
  messages: AsyncIterable<MessageInitShape<I>>,
  signal: AbortSignal,
): Promise<Blob> {
  const envelopes: Uint8Array<ArrayBuffer>[] = [];
  for await (const message of messages) {
    signal.throwIfAborted();
    const bytes = toBinary(input, create(input, message));
    envelopes.push(new Uint8Array(encodeEnvelope(0, bytes)));
  }
  return new Blob(envelopes);
}

async function* readMessages<O extends DescMessage>(
  output: O,
  body: ReadableStream<Uint8Array>,
  header: Headers,
  trailer: Headers,
): AsyncGenerator<MessageShape<O>, void, undefined> {
  const reader = createEnvelopeReadableStream(body).getReader();
  let hasEnded = false;
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    const { flags, data } = step.value;
    if ((flags & compressedFlag) !== 0) {
      throw new ConnectError("the answer is compressed, which was not asked for", Code.Internal);
    }
    if ((flags & endStreamFlag) === 0) {
      yield fromBinary(output, data);
      continue;
    }
    hasEnded = true;
    const { error, metadata } = endStreamFromJson(data);
    if (error !== undefined) {
      header.forEach((value, key) => {
        error.metadata.append(key, value);
      });
      throw error;
    }
    metadata.forEach((value, key) => {
      trailer.set(key, value);
    });
  }
  if (!hasEnded) throw new TypeError("the stream was cut");
}
