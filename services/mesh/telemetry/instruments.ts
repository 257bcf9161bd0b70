/**
 * Counts, durations and spans by OpenTelemetry's API: they go to whatever is
 * registered in this process, and nowhere where nothing is.
 */
import { type Attributes, metrics, SpanStatusCode, trace } from "@opentelemetry/api";

/** Facts of a measurement; few different values, so that series stay few. */
export type Facts = Readonly<Record<string, string | number | boolean>>;

/** Adds to a counter. `name` in OpenTelemetry's style, for example `devmesh.work.tokens`. */
export function count(name: string, value: number, facts: Facts): void {
  metrics.getMeter("devmesh").createCounter(name).add(value, attributesOf(facts));
}

/** Notes how long something took, in a histogram of seconds. */
export function duration(name: string, ms: number, facts: Facts): void {
  const histogram = metrics.getMeter("devmesh").createHistogram(name, { unit: "s" });
  histogram.record(ms / 1000, attributesOf(facts));
}

/** Notes a span that has ended now; `error`: why it failed, empty if it did not. */
export function span(name: string, ms: number, facts: Facts, error = ""): void {
  const endTime = Date.now();
  const made = trace.getTracer("devmesh").startSpan(name, {
    startTime: endTime - ms,
    attributes: attributesOf(facts),
  });
  if (error !== "") made.setStatus({ code: SpanStatusCode.ERROR, message: error });
  made.end(endTime);
}

function attributesOf(facts: Facts): Attributes {
  return { ...facts };
}
