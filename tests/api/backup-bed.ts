/** What the tests of backups share: places for a backend, a backend with a history, and moving it. */
import { randomUUID } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { BackupService } from "@devmesh/gen/devmesh/api/v1/backup_service_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";
import { type JobEvent, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { type Lease, RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { type Manifest, verifyArchive } from "@devmesh/mesh/backup";
import { Client } from "pg";
import { prepareApi } from "../../services/api/backup/restore.ts";
import { Bed } from "./bed.ts";

/** Where a backend keeps its data. */
export interface Place {
  readonly storageUrl: string;
  readonly dataDir: string;
}

/** An empty place below `folder`; with a server, an empty database of it. */
export async function newPlace(folder: string, serverUrl?: string): Promise<Place> {
  const dataDir = await mkdtemp(join(folder, "data-"));
  if (serverUrl === undefined) return { storageUrl: "sqlite:api.sqlite", dataDir };
  const name = `db_${randomUUID().replaceAll("-", "")}`;
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { storageUrl: url.href, dataDir };
}

/** A backend on a place. */
export function openBed(place: Place): Promise<Bed> {
  return Bed.open({ config: place });
}

/** Writes a backup of a backend to a file. */
export async function backUp(bed: Bed, path: string): Promise<Manifest> {
  const answers = bed.client(BackupService).createBackup({});
  await writeFile(
    path,
    (async function* () {
      for await (const { data } of answers) yield data;
    })(),
  );
  return await verifyArchive(path);
}

/** Restores a file into a place. */
export async function restore(path: string, place: Place, nowMs = Date.now()): Promise<Manifest> {
  const manifest = await verifyArchive(path);
  const prepared = await prepareApi({ ...place, path, manifest, nowMs });
  await prepared.commit();
  return manifest;
}

/** A runner that does what it is told. */
export class TestRunner {
  readonly #runners;
  readonly #id: string;

  private constructor(bed: Bed, id: string) {
    this.#runners = bed.client(RunnerService);
    this.#id = id;
  }

  static async register(bed: Bed, id: string): Promise<TestRunner> {
    const capabilities = [{ driver: "d", isolation: Isolation.PROCESS, available: true }];
    const runner = create(AgentSchema, { id, host: "h", version: "0", capacity: 9, capabilities });
    const one = new TestRunner(bed, id);
    await one.#runners.registerRunner({ runner });
    return one;
  }

  /** Leases one job; undefined if there is none to run now. */
  async tryLease(): Promise<Lease | undefined> {
    const isolations = [Isolation.PROCESS];
    await this.#runners.heartbeat({ runnerId: this.#id, leases: [] });
    const ask = { runnerId: this.#id, maxJobs: 1, isolations };
    return (await this.#runners.leaseJobs(ask)).leases[0];
  }

  async lease(): Promise<Lease> {
    const lease = await this.tryLease();
    if (lease === undefined) throw new Error("there is no job to lease");
    return lease;
  }

  async log({ job, epoch }: Lease, seq: number, data: Uint8Array): Promise<void> {
    const kind: JobEvent["kind"] = {
      case: "log",
      value: { $typeName: "devmesh.api.v1.JobLog", stream: LogStream.STDOUT, data },
    };
    const lease = { jobId: job?.id ?? "", epoch };
    await this.#runners.appendEvents({ lease, events: [{ seq, kind }] });
  }

  async finish({ job, epoch }: Lease, seq: number, message = ""): Promise<void> {
    const lease = { jobId: job?.id ?? "", epoch };
    const result = { outcome: JobStatus.SUCCEEDED, message };
    await this.#runners.finishJob({ lease, seq, result });
  }

  /** True if the backend says that the lease is fenced. */
  async isFenced({ job, epoch }: Lease): Promise<boolean> {
    const leases = [{ jobId: job?.id ?? "", epoch }];
    const answer = await this.#runners.heartbeat({ runnerId: this.#id, leases });
    return answer.leases[0]?.fenced === true;
  }
}

/** Every event of a job, as it is told to watchers now. */
export async function eventsOf(bed: Bed, id: string): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  const left = new AbortController();
  const { job } = await bed.client(JobService).getJob({ id });
  const answers = bed.client(JobService).watchJob({ id }, { signal: left.signal });
  for await (const { step } of answers) {
    if (step.case === "event") events.push(step.value);
    if (events.at(-1)?.seq === job?.lastSeq) break;
  }
  left.abort();
  return events;
}
