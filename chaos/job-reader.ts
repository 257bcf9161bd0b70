/** How the verifier reads a platform: every job, and each job's events in two ways. */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { fromConnect, type Job, type JobEvent, type NodeDevmesh } from "@devmesh/sdk/node";
import { type FencedWrite, JobService, ListJobEventsResponseSchema } from "@devmesh/sdk/raw";

/** A job as the platform shows it. */
export interface ReadJob {
  readonly job: Job;
  readonly fencedWrites: readonly FencedWrite[];
}

/** What the verifier asks a platform. */
export interface JobReader {
  /** All jobs there are. */
  list(): AsyncIterable<Job>;
  /** One job; undefined if there is none. */
  get(id: string): Promise<ReadJob | undefined>;
  /** Its events, page by page. */
  events(id: string): AsyncIterable<JobEvent>;
  /** Its events, as a watcher gets them. Called for ended jobs only. */
  stream(id: string): AsyncIterable<JobEvent>;
}

/** Where a platform is. */
export interface ReaderOptions {
  readonly devmesh: NodeDevmesh;
  /** The public address from which REST is read; another replica's, where there are several. */
  readonly url: string;
  readonly token: string;
}

/** Reads over the SDK, and the pages of events over REST. */
export function readPlatform({ devmesh, url, token }: ReaderOptions): JobReader {
  const client = createClient(JobService, devmesh.transport);
  return {
    list: () => devmesh.jobs.list({ pageSize: 200 }),
    async get(id) {
      try {
        const { job, fencedWrites } = await client.getJob({ id }, { timeoutMs: 30_000 });
        return job && { job, fencedWrites };
      } catch (error) {
        if (fromConnect(error).reason === "NOT_FOUND") return undefined;
        throw error;
      }
    },
    events: (id) => restEvents(url, token, id),
    async *stream(id) {
      // Not the SDK's own watch: it would hide what it repairs and throw at what is to be found.
      for await (const { step } of client.watchJob({ id, from: 1 })) {
        if (step.case === "event") yield step.value;
      }
    },
  };
}

async function* restEvents(url: string, token: string, id: string): AsyncGenerator<JobEvent> {
  let from = 1;
  while (from > 0) {
    const response = await fetch(`${url}/v1/jobs/${id}/events?from=${from}&pageSize=1000`, {
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      signal: AbortSignal.timeout(60_000),
    });
    if (!response.ok) throw new Error(`GET events of ${id}: status ${response.status}`);
    const page = fromJson(ListJobEventsResponseSchema, (await response.json()) as JsonValue);
    yield* page.events;
    if (page.events.length === 0) return;
    from = page.nextFrom;
  }
}
