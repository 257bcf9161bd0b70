/** One span for each call on the server's side, continued from `traceparent`. */
import type { Interceptor, StreamResponse } from "@connectrpc/connect";
import {
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { toDevmeshError } from "../errors/index.ts";

const getter: TextMapGetter<Headers> = {
  keys: (headers) => [...headers.keys()],
  get: (headers, key) => headers.get(key) ?? undefined,
};

/** Starts a span around the handler; it ends with the answer, or with the stream. */
export function traceInterceptor(tracer: Tracer = trace.getTracer("devmesh")): Interceptor {
  return (next) => async (req) => {
    const parent = propagation.extract(context.active(), req.header, getter);
    const span = tracer.startSpan(
      `${req.service.typeName}/${req.method.name}`,
      {
        kind: SpanKind.SERVER,
        attributes: {
          "rpc.system": "grpc",
          "rpc.service": req.service.typeName,
          "rpc.method": req.method.name,
        },
      },
      parent,
    );
    try {
      const res = await context.with(trace.setSpan(parent, span), () => next(req));
      if (res.stream) return { ...res, message: traced(res, span) };
      span.end();
      return res;
    } catch (error) {
      fail(span, error);
      throw error;
    }
  };
}

async function* traced(res: StreamResponse, span: Span) {
  try {
    yield* res.message;
  } catch (error) {
    fail(span, error);
    throw error;
  } finally {
    span.end();
  }
}

function fail(span: Span, error: unknown): void {
  const { reason, message } = toDevmeshError(error);
  span.setAttribute("error.type", reason);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.end();
}
