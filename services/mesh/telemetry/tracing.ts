/** Sets OpenTelemetry up in this process. Whether to is decided in `telemetry.ts`. */
import { setTimeout as delay } from "node:timers/promises";
import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace";
import { version } from "../version.ts";

/** Tracing that runs, or does not. */
export interface Telemetry {
  readonly on: boolean;
  /** Sends what is left, within three seconds, and stops. Never throws. */
  close(): Promise<void>;
}

/** How long a stop waits for the collector, in milliseconds. */
const flushLimitMs = 3_000;

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
  return {
    on: true,
    async close() {
      // A collector that is down must neither fail the stop of a service nor hold it up.
      const sent = provider.shutdown().catch(() => {});
      const late = new AbortController();
      await Promise.race([sent, delay(flushLimitMs, undefined, late).catch(() => {})]);
      late.abort();
    },
  };
}
