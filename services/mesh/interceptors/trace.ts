/** One span for each call on the server's side, continued from `traceparent`. */
import type { Interceptor } from "@connectrpc/connect";
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
import { tapStream } from "../runtime/index.ts";

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
    const active = trace.setSpan(parent, span);
    const around = <R>(step: () => R): R => context.with(active, step);
    try {
      const res = await around(() => next(req));
      if (!res.stream) {
        span.end();
        return res;
      }
      // What the handler calls between two messages belongs to the span too.
      const end = (how: string, error?: unknown) =>
        how === "failed" ? fail(span, error) : span.end();
      return { ...res, message: tapStream(res.message, { around, end }) };
    } catch (error) {
      fail(span, error);
      throw error;
    }
  };
}

function fail(span: Span, error: unknown): void {
  const { reason, message } = toDevmeshError(error);
  span.setAttribute("error.type", reason);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.end();
}
