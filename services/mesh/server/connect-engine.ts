/**
 * Serves contracts by Connect, gRPC and gRPC-Web on Node's own HTTP servers:
 * the engine of the public port, and of HTTP/1.1 everywhere.
 */

import type { DescMethod } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouterOptions,
  createConnectRouter,
  createContextValues,
} from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { kHeadFault, kPeer } from "../context/index.ts";
import { invalidField } from "../errors/index.ts";
import { bodyLimit } from "../interceptors/access.ts";
import type { Logger } from "../log/index.ts";
import type { Ids } from "../runtime/index.ts";
import type { Admit } from "./admission.ts";
import { withoutBody } from "./empty-request.ts";
import { headFault, requireHost } from "./head-faults.ts";
import {
  HttpExchange,
  type HttpRequest,
  type HttpResponse,
  peerOf,
  toHeaders,
} from "./http-exchange.ts";
import { cutLateBody, endUploadAfter } from "./late-body.ts";
import { bareRefusal, keepJson, withReason } from "./refused-requests.ts";
import { nameRequest } from "./request-ids.ts";
import type { ServiceRegistration } from "./service.ts";
import { StallTimer } from "./stall-timer.ts";

/** What the engine serves. */
export interface ConnectEngineOptions extends Pick<ConnectRouterOptions, "interceptors"> {
  readonly services: readonly ServiceRegistration[];
  /** The largest message taken, in bytes. */
  readonly maxMessageBytes: number;
  /** How long a reader may take nothing of an answer until its call is cut, in milliseconds. */
  readonly stallTimeoutMs: number;
  /** How long a body may take that is not a stream's. */
  readonly bodyTimeoutMs: number;
  /** Asked before a body is read. */
  readonly admit: Admit;
  /** Name requests that come without a name. */
  readonly ids: Ids;
  readonly logger: Logger;
}

/** A refused caller may finish sending what is on its way; then it is cut off. */
const refusedBodyTimeoutMs = 5_000;

/** Methods whose bodies are as long as the call. */
const clientStreaming: ReadonlySet<DescMethod["methodKind"]> = new Set([
  "client_streaming",
  "bidi_streaming",
]);

/** Answers a request if it is a call of one of the services; false if it is not. */
export type ConnectEngine = (req: HttpRequest, res: HttpResponse) => boolean;

/** Makes the engine; it is told of requests by the HTTP servers. */
export function createConnectEngine(options: ConnectEngineOptions): ConnectEngine {
  const { services, maxMessageBytes, stallTimeoutMs, bodyTimeoutMs, admit } = options;
  const { ids, logger } = options;
  const { interceptors = [] } = options;
  const handlersOf = (readMaxBytes: number) => {
    const router = createConnectRouter({
      interceptors,
      // A misspelt field or enum word must not silently mean its default.
      jsonOptions: { ignoreUnknownFields: false },
      acceptCompression: [compressionGzip, compressionBrotli],
      readMaxBytes,
      writeMaxBytes: 64 * 1024 * 1024,
    });
    for (const service of services) service.register(router);
    return router.handlers.filter(({ method }) => {
      return bodyLimit(method, maxMessageBytes) === readMaxBytes;
    });
  };
  const limits = services.flatMap(({ desc }) =>
    desc.methods.map((method) => bodyLimit(method, maxMessageBytes)),
  );
  const handlers = new Map(
    [...new Set(limits)].flatMap(handlersOf).map((handler) => [handler.requestPath, handler]),
  );
  return (req, res) => {
    const handler = handlers.get(req.url?.split("?", 1)[0] ?? "");
    if (handler === undefined) return false;
    const nodeReq = req as Parameters<typeof universalRequestFromNodeRequest>[0];
    const nodeRes = res as Parameters<typeof universalResponseToNodeResponse>[1];
    const header = toHeaders(req);
    const requestId = nameRequest(header, ids);
    const values = createContextValues()
      .set(kPeer, peerOf(req, header))
      .set(kHeadFault, headFault(req));
    const refuse = (error: unknown) => new HttpExchange(req, res, { ids, logger }).fail(error);
    // Made at once, so that it hears of a caller that leaves; its body is read on demand.
    let request: UniversalServerRequest;
    try {
      requireHost(req);
      const read = universalRequestFromNodeRequest(nodeReq, nodeRes, undefined, values);
      request = { ...read, signal: cancelledWith(read.signal) };
    } catch {
      // HTTP/1.0 needs no Host, and one that is no authority comes through: there is no URL then.
      refuse(invalidField("Host", "is missing, came twice, or names no host"));
      return true;
    }
    request.header.set("x-request-id", requestId);
    if ("stream" in req) endUploadAfter(req.stream);
    const { method } = handler;
    const isClientStreaming = clientStreaming.has(method.methodKind);
    // Node bounds the bodies of HTTP/1.1.
    if (req.httpVersionMajor !== 1 && !isClientStreaming) cutLateBody(req, bodyTimeoutMs);
    const answered = admit(method, header, values).then(async (admitted) => {
      if (!admitted) cutLateBody(req, refusedBodyTimeoutMs);
      const kept = keepJson(admitted ? request : withoutBody(request));
      const answer = await handler(kept.request);
      return withReason(answer, { input: method.input, kept, requestId });
    });
    answered
      .then((answer) => {
        const error = bareRefusal(answer, method, {
          verb: request.method,
          type: header.get("content-type"),
        });
        if (error !== undefined) return refuse(error);
        return universalResponseToNodeResponse(bounded(answer, res, stallTimeoutMs), nodeRes);
      })
      .catch((err: unknown) => {
        // The call's own errors are answers: this is a connection that broke under one.
        logger.debug({ err, rpc: handler.requestPath }, "answer not delivered");
        res.destroy();
      });
    return true;
  };
}

/**
 * A caller's end is a cancel, whatever it did last: the codes with which it may reset a stream of
 * HTTP/2 (RFC 9113 §7) would tell some of them as faults of the server.
 */
function cancelledWith(caller: AbortSignal): AbortSignal {
  const call = new AbortController();
  const cancel = () => call.abort(new ConnectError("the caller is gone", Code.Canceled));
  if (caller.aborted) cancel();
  else caller.addEventListener("abort", cancel, { once: true });
  return call.signal;
}

/**
 * Closes the answer's producer when its connection closes: a write that waits
 * for a slow reader who then leaves would wait for ever. Cuts the call of a
 * reader that stays and takes nothing.
 */
function bounded(
  answer: UniversalServerResponse,
  res: HttpResponse,
  stallTimeoutMs: number,
): UniversalServerResponse {
  const { body } = answer;
  if (body === undefined) return answer;
  return {
    ...answer,
    body: {
      [Symbol.asyncIterator]() {
        const chunks = body[Symbol.asyncIterator]();
        const stall = new StallTimer(stallTimeoutMs, () => res.destroy());
        res.once("close", () => {
          stall.end();
          // It has ended, or its own error is on its way: there is nothing to add.
          chunks.return?.().catch(() => {});
        });
        return stall.around(chunks);
      },
    },
  };
}
