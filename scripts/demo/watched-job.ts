/** Hands in a job, watches it live, and checks its log against what was watched. */
import { createHash } from "node:crypto";
import type { JobInput, NodeDevmesh } from "../../sdk/ts/src/node.ts";
import type { JobEvent, JobResult } from "../../sdk/ts/src/raw.ts";

/** A job that was watched to its end. */
export interface WatchedJob {
  readonly id: string;
  readonly result: JobResult;
  /** SHA-256 over the log bytes that this watcher saw, of the last attempt. */
  readonly watchedSha256: string;
  readonly events: number;
  /** Payloads of notes, by topic. */
  readonly notes: ReadonlyMap<string, Record<string, unknown>>;
  /** The whole output as text. */
  readonly output: string;
}

const running = 2;

/** Runs one job; `onText` hears its output as it comes. */
export async function watchJob(
  devmesh: NodeDevmesh,
  input: JobInput,
  onText: (text: string) => void,
): Promise<WatchedJob> {
  const { jobId } = await devmesh.jobs.create(input);
  let hash = createHash("sha256");
  let events = 0;
  let output = "";
  let result: JobResult | undefined;
  const notes = new Map<string, Record<string, unknown>>();
  const decoder = new TextDecoder();
  // The SDK checks the digest too; this is the demo's own count.
  for await (const { kind } of devmesh.jobs.watch(jobId) as AsyncIterable<JobEvent>) {
    events += 1;
    switch (kind.case) {
      case "log": {
        hash.update(kind.value.data);
        const text = decoder.decode(kind.value.data, { stream: true });
        output += text;
        onText(text);
        break;
      }
      case "status":
        if (kind.value.status === running) hash = createHash("sha256");
        break;
      case "note":
        notes.set(kind.value.topic, (kind.value.payload ?? {}) as Record<string, unknown>);
        break;
      case "result":
        result = kind.value;
        break;
      case undefined:
        break;
    }
  }
  if (result === undefined) throw new Error(`job ${jobId} ended without a result`);
  return { id: jobId, result, watchedSha256: hash.digest("hex"), events, notes, output };
}
