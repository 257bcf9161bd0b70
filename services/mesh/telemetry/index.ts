export { count, duration, type Facts, span } from "./instruments.ts";
export { startTelemetry, type TelemetryOptions } from "./telemetry.ts";
export type { Telemetry } from "./tracing.ts";
