/** Traces by OTLP, where the operator asks for them; nothing is loaded where not. */
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { Env } from "../config/index.ts";
import type { Telemetry } from "./tracing.ts";

/** Whose traces, and where they go. */
export interface TelemetryOptions {
  /** The service's name in every span. `OTEL_SERVICE_NAME` goes before it. */
  readonly service: string;
  /**
   * `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`)
   * turns tracing on; `OTEL_SDK_DISABLED=true` keeps it off.
   */
  readonly env: Env;
  /** Takes the spans instead of an OTLP collector: for tests and benches. */
  readonly exporter?: SpanExporter;
}

const off: Telemetry = { on: false, close: async () => {} };

/**
 * Starts tracing, at most once in a process: spans of served calls, spans of
 * calls over gRPC channels, and the trace's context sent along between them.
 */
export async function startTelemetry({
  service,
  env,
  exporter,
}: TelemetryOptions): Promise<Telemetry> {
  const url = tracesUrl(env);
  if (env.OTEL_SDK_DISABLED === "true") return off;
  if (exporter === undefined && url === undefined) return off;
  const { startTracing } = await import("./tracing.ts");
  return startTracing(env.OTEL_SERVICE_NAME || service, exporter ?? url ?? "");
}

/** The signal's own variable is the whole URL; the common one is the base of it. */
function tracesUrl(env: Env): string | undefined {
  if (env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
  const base = env.OTEL_EXPORTER_OTLP_ENDPOINT;
  return base ? `${base.replace(/\/+$/, "")}/v1/traces` : undefined;
}
