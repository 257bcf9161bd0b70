/** Follows a job live over any number of connections and backends, and notes what it was given. */
import { setTimeout as delay } from "node:timers/promises";
import { fromConnect, type JobResult, JobStreamError } from "@devmesh/sdk/node";
import { type Clients, isPassing } from "./clients.ts";
import { EventDigest } from "./event-digest.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";

/** What a watcher needs. */
export interface WatcherOptions {
  readonly clients: Clients;
  readonly history: History;
  readonly random: Random;
  /** Ends the watch. */
  readonly signal: AbortSignal;
}

/** Silence after which a connection counts as dead: a few keepalives. */
const idleTimeoutMs = 4_000;

/** The job's result; undefined if the watch had to end before. Notes a broken promise and gives up then. */
export async function watchJob(
  jobId: string,
  { clients, history, random, signal }: WatcherOptions,
): Promise<JobResult | undefined> {
  const digest = new EventDigest();
  let result: JobResult | undefined;
  while (result === undefined && !signal.aborted) {
    // Some stay with a backend until it is back, others go to the next one.
    const maxReconnects = random.chance(0.5) ? 20 : 0;
    const from = digest.count + 1;
    try {
      const events = clients.pick(random).jobs.watch(jobId, {
        ...{ from, signal, maxReconnects, idleTimeoutMs },
        onState: ({ state }) => state === "reconnecting" && clients.noteRetry("STREAM"),
      });
      for await (const event of events) {
        digest.take(event);
        if (event.kind.case === "result") result = event.kind.value;
      }
    } catch (error) {
      if (signal.aborted) break;
      const failure = error instanceof JobStreamError ? error : fromConnect(error);
      if (failure instanceof JobStreamError || !isPassing(failure)) {
        history.add({ kind: "refused", jobId, what: `watching from ${from}: ${failure.message}` });
        break;
      }
      await delay(random.integer(100, 600));
    }
  }
  if (digest.count > 0) {
    const sha256 = digest.hex();
    history.add({ kind: "watched", jobId, from: 1, events: digest.count, sha256 });
  }
  return result;
}
