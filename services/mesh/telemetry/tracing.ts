/** Sets OpenTelemetry up in this process. Whether to is decided in `telemetry.ts`. */
import { createRequire } from "node:module";
import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { GrpcInstrumentation } from "@opentelemetry/instrumentation-grpc";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace";
import { version } from "../version.ts";
import type { Telemetry } from "./telemetry.ts";

/** Registers provider, context and propagation; `to` is an exporter or the collector's URL. */
export function startTracing(service: string, to: SpanExporter | string): Telemetry {
  const exporter = typeof to === "string" ? new OTLPTraceExporter({ url: to }) : to;
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": service, "service.version": version }),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(provider);
  instrumentGrpcClients();
  return {
    on: true,
    // A collector that is down must not fail the stop of a service.
    close: () => provider.shutdown().catch(() => {}),
  };
}

/**
 * The instrumentation wraps the prototypes of grpc-js when that is required
 * the next time, also if it was imported before. Its server half is undone:
 * the span of a served call is `traceInterceptor`'s, on every way in.
 */
function instrumentGrpcClients(): void {
  new GrpcInstrumentation();
  const grpc: unknown = createRequire(import.meta.url)("@grpc/grpc-js");
  const { prototype } = (grpc as { Server: { prototype: { register: Unwrappable } } }).Server;
  prototype.register.__unwrap?.();
}

type Unwrappable = { readonly __unwrap?: () => void };
