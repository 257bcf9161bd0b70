/** Reads one job's events: their numbers, their end, and the log of each attempt. */
import { createHash } from "node:crypto";
import { type JobEvent, JobStatus, LogStream } from "@devmesh/sdk/node";

/** What one attempt wrote. */
export interface AttemptLog {
  readonly attempt: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** Of both outputs, in the order of their events. */
  readonly sha256: string;
  readonly bytes: number;
}

/** A job's events, read once. */
export interface JobLog {
  readonly events: readonly JobEvent[];
  /** In order; one for each start. */
  readonly attempts: readonly AttemptLog[];
  /** The sandboxes that the notes name, with their drivers. */
  readonly sandboxes: readonly { readonly id: string; readonly driver: string }[];
  /** What is wrong with the numbers or the end. Empty: nothing. */
  readonly faults: readonly string[];
}

/** Reads all events. */
export async function readLog(source: AsyncIterable<JobEvent>): Promise<JobLog> {
  const events: JobEvent[] = [];
  const faults: string[] = [];
  for await (const event of source) {
    const expected = events.length + 1;
    if (event.seq !== expected) faults.push(`expected event ${expected}, found ${event.seq}`);
    events.push(event);
  }
  const results = events.filter(({ kind }) => kind.case === "result").length;
  if (results !== 1) faults.push(`expected one result, found ${results}`);
  else if (events.at(-1)?.kind.case !== "result") faults.push("expected the result as last event");
  return { events, attempts: attemptsOf(events), sandboxes: sandboxesOf(events), faults };
}

function attemptsOf(events: readonly JobEvent[]): AttemptLog[] {
  const starts = events.flatMap(({ kind }, at) =>
    kind.case === "status" && kind.value.status === JobStatus.RUNNING
      ? [{ at, attempt: kind.value.attempt }]
      : [],
  );
  return starts.map(({ at, attempt }, i) => {
    const logs = events
      .slice(at, starts[i + 1]?.at)
      .flatMap(({ kind }) => (kind.case === "log" ? [kind.value] : []));
    const bytesOf = (stream: LogStream) =>
      Buffer.concat(logs.filter((log) => log.stream === stream).map(({ data }) => data));
    const hash = createHash("sha256");
    for (const { data } of logs) hash.update(data);
    return {
      attempt,
      stdout: bytesOf(LogStream.STDOUT),
      stderr: bytesOf(LogStream.STDERR),
      sha256: hash.digest("hex"),
      bytes: logs.reduce((sum, { data }) => sum + data.length, 0),
    };
  });
}

function sandboxesOf(events: readonly JobEvent[]): JobLog["sandboxes"] {
  return events.flatMap(({ kind }) => {
    if (kind.case !== "note" || kind.value.topic !== "sandbox") return [];
    const { sandbox: id, driver } = kind.value.payload ?? {};
    return typeof id === "string" ? [{ id, driver: String(driver) }] : [];
  });
}
