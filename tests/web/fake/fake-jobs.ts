/** The fake's jobs: accepted, played by hand or by a few known commands, watched from any number. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { type JobEvent, JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import {
  type Job,
  JobSchema,
  type JobSpec,
  type JobSpecSchema,
} from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { JobResultSchema } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { DevmeshError } from "@devmesh/mesh/errors";

/** One job with all its events. */
export interface FakeJob {
  readonly job: Job;
  readonly events: JobEvent[];
}

const pieceChars = 32 * 1024;

/** All jobs, newest first. */
export class FakeJobs {
  readonly #jobs: FakeJob[] = [];
  readonly #byKey = new Map<string, FakeJob>();
  readonly #listeners = new Set<() => void>();
  #count = 0;

  all(): readonly FakeJob[] {
    return this.#jobs;
  }

  entry(id: string): FakeJob {
    const found = this.#jobs.find(({ job }) => job.id === id);
    if (found === undefined) throw new DevmeshError("NOT_FOUND", `there is no job ${id}`);
    return found;
  }

  /** Accepts a job; one key, one job. */
  accept(spec: MessageInitShape<typeof JobSpecSchema>, key = ""): FakeJob {
    const known = key === "" ? undefined : this.#byKey.get(key);
    if (known !== undefined) return known;
    const id = `job_01jd${String(++this.#count).padStart(22, "0")}`;
    const job = create(JobSchema, {
      id,
      spec,
      status: JobStatus.QUEUED,
      type: spec.work?.case ?? "command",
      owner: "tok_01jd8x2m4q6r8t0v2w4y6z8a0c",
      createTime: timestampNow(),
    });
    const made = { job, events: [] };
    this.#jobs.unshift(made);
    if (key !== "") this.#byKey.set(key, made);
    this.#add(made, { kind: { case: "status", value: { status: JobStatus.QUEUED } } });
    return made;
  }

  /** Plays what a real runner would do with `echo WORDS` and `seq A B`; others stay queued. */
  play(id: string): void {
    const { job } = this.entry(id);
    const script = scriptOf(job.spec);
    const echo = /^echo (.*)$/.exec(script);
    const seq = /^seq (\d+) (\d+)$/.exec(script);
    if (echo === null && seq === null) return;
    this.start(id);
    if (echo !== null) this.log(id, `${echo[1]}\n`);
    if (seq !== null) this.log(id, numbers(Number(seq[1]), Number(seq[2])));
    this.finish(id, { outcome: JobStatus.SUCCEEDED, exitCode: 0 });
  }

  /** A runner takes the job. */
  start(id: string, runner = "run-build-1"): void {
    const entry = this.entry(id);
    const { job } = entry;
    job.status = JobStatus.RUNNING;
    job.startTime = timestampNow();
    job.attempt++;
    job.runner = runner;
    const value = { status: JobStatus.RUNNING, attempt: job.attempt, runner };
    this.#add(entry, { kind: { case: "status", value } });
  }

  /** Output; long text becomes several events, bytes one. */
  log(id: string, data: string | Uint8Array, stream: "stdout" | "stderr" = "stdout"): void {
    const entry = this.entry(id);
    const code = stream === "stderr" ? LogStream.STDERR : LogStream.STDOUT;
    const add = (bytes: Uint8Array) => {
      const value = { stream: code, data: new Uint8Array(bytes) };
      this.#add(entry, { kind: { case: "log", value } });
    };
    if (typeof data !== "string") {
      add(data);
      return;
    }
    for (let at = 0; at < data.length; at += pieceChars) {
      add(new TextEncoder().encode(data.slice(at, at + pieceChars)));
    }
  }

  /** A remark of the runner's. */
  note(id: string, topic: string, message: string, level = "info"): void {
    this.#add(this.entry(id), { kind: { case: "note", value: { level, topic, message } } });
  }

  /** The end. */
  finish(id: string, result: MessageInitShape<typeof JobResultSchema>): void {
    const entry = this.entry(id);
    const { job } = entry;
    this.#add(entry, { kind: { case: "result", value: result } });
    const last = entry.events.at(-1);
    if (last?.kind.case === "result") job.result = last.kind.value;
    job.status = result.outcome ?? JobStatus.SUCCEEDED;
    job.endTime = timestampNow();
  }

  /** Calls `listener` after each event; answers what ends that. */
  onEvent(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #add(entry: FakeJob, event: MessageInitShape<typeof JobEventSchema>): void {
    const seq = entry.events.length + 1;
    entry.events.push(create(JobEventSchema, { ...event, seq, time: timestampNow() }));
    entry.job.lastSeq = seq;
    for (const listener of this.#listeners) listener();
  }
}

/** Lines with the numbers from `first` to `last`. */
export function numbers(first: number, last: number): string {
  return Array.from({ length: last - first + 1 }, (_, at) => `${first + at}\n`).join("");
}

function scriptOf(spec: JobSpec | undefined): string {
  if (spec?.work.case !== "command") return "";
  const { argv } = spec.work.value;
  return argv[0] === "sh" ? (argv.at(-1) ?? "") : argv.join(" ");
}
