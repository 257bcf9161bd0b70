/** Spans of calls: one on the caller's side, one on the server's, tied by `traceparent`. */
import type { DescMethod } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import {
  type Attributes,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type TextMapSetter,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { toDevmeshError } from "../errors/index.ts";
import { type StreamTap, tapStream } from "../runtime/index.ts";

const getter: TextMapGetter<Headers> = {
  keys: (headers) => [...headers.keys()],
  get: (headers, key) => headers.get(key) ?? undefined,
};

const setter: TextMapSetter<Headers> = { set: (headers, key, value) => headers.set(key, value) };

/** Starts a span around the handler; it ends with the answer, or with the stream. */
export function traceInterceptor(tracer: Tracer = trace.getTracer("devmesh")): Interceptor {
  return (next) => (req) => {
    const parent = propagation.extract(context.active(), req.header, getter);
    const { name, attributes } = factsOf(req.method);
    const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
    const active = trace.setSpan(parent, span);
    const around = <R>(step: () => R): R => context.with(active, step);
    // What the handler calls between two messages belongs to the span too.
    return endWith(
      span,
      around(() => next(req)),
      around,
    );
  };
}

/**
 * The same for a client: a child of whatever runs. Innermost, so that each try
 * of a repeated call is a span. Where tracing is off, nothing is sent along.
 */
export function clientTraceInterceptor(tracer: Tracer = trace.getTracer("devmesh")): Interceptor {
  return (next) => (req) => {
    const parent = context.active();
    const { name, attributes } = factsOf(req.method);
    const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes }, parent);
    const active = trace.setSpan(parent, span);
    propagation.inject(active, req.header, setter);
    return endWith(span, next(req));
  };
}

type Answer = ReturnType<ReturnType<Interceptor>>;

/** Ends the span with the answer, or with the last message. */
async function endWith(span: Span, answer: Answer, around?: StreamTap["around"]): Answer {
  try {
    const res = await answer;
    if (!res.stream) {
      span.end();
      return res;
    }
    const end = (how: string, error?: unknown) =>
      how === "failed" ? fail(span, error) : span.end();
    return { ...res, message: tapStream(res.message, around ? { around, end } : { end }) };
  } catch (error) {
    fail(span, error);
    throw error;
  }
}

function fail(span: Span, error: unknown): void {
  const { reason, message } = toDevmeshError(error);
  span.setAttribute("error.type", reason);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.end();
}

interface SpanFacts {
  readonly name: string;
  readonly attributes: Attributes;
}

const known = new WeakMap<DescMethod, SpanFacts>();

/** What every span of a method says alike. */
function factsOf(method: DescMethod): SpanFacts {
  let facts = known.get(method);
  if (facts === undefined) {
    const service = method.parent.typeName;
    facts = {
      name: `${service}/${method.name}`,
      attributes: { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method.name },
    };
    known.set(method, facts);
  }
  return facts;
}
