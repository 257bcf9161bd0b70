/** Traces by OTLP, where the operator asks for them; nothing is loaded where not. */
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import { type Env, EnvReader } from "../config/index.ts";
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
 * calls to other services, and the trace's context sent along between them.
 * Throws CONFIG_INVALID for a URL that is none.
 */
export async function startTelemetry({
  service,
  env,
  exporter,
}: TelemetryOptions): Promise<Telemetry> {
  const reader = new EnvReader(env);
  const isOff = reader.boolean("OTEL_SDK_DISABLED", false);
  const name = reader.string("OTEL_SERVICE_NAME", service);
  const to = exporter ?? tracesUrl(reader);
  reader.finish();
  if (isOff || to === undefined) return off;
  const { startTracing } = await import("./tracing.ts");
  return startTracing(name, to);
}

/** The signal's own variable is the whole URL; the common one is the base of it. */
function tracesUrl(reader: EnvReader): string | undefined {
  const schemes = ["http", "https"];
  const whole = reader.url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", schemes, undefined);
  const base = reader.url("OTEL_EXPORTER_OTLP_ENDPOINT", schemes, undefined);
  return whole ?? (base && `${base.replace(/\/+$/, "")}/v1/traces`);
}
