export { startTelemetry, type TelemetryOptions } from "./telemetry.ts";
export type { Telemetry } from "./tracing.ts";
