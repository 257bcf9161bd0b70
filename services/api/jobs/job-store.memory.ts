/**
 * The job store in memory: rows as in the tables, a scan for each claim. Real
 * in what it promises, and gone with the process.
 */
import type { Job, JobEvent, JobResult } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Clock } from "@devmesh/mesh/runtime";
import { JobChanges } from "./job-changes.ts";
import {
  checkHeld,
  type EndingRows,
  finish,
  release,
  requestCancel,
  sweep,
  type Transition,
} from "./job-endings.ts";
import {
  type EventBody,
  type EventRow,
  eventBody,
  type JobRow,
  payloadBytes,
  specColumns,
  toEvent,
  toJob,
} from "./job-rows.ts";
import {
  accepted,
  checkBatch,
  checkKey,
  listCombinations,
  newEvents,
  running,
  strength,
} from "./job-rules.ts";
import type {
  AcceptInput,
  ClaimedJob,
  ClaimInput,
  JobStore,
  LeaseRef,
  LeaseState,
  ListQuery,
  QueueStats,
  ReadLimits,
  SweptJob,
} from "./job-store.ts";

interface KeyRow {
  readonly jobId: string;
  readonly fingerprint: string;
  readonly expiresAt: string;
}

/** Jobs in this process. No method awaits between its reads and its writes. */
export class MemoryJobStore implements JobStore {
  readonly #clock: Clock;
  readonly #jobs = new Map<string, JobRow>();
  readonly #events = new Map<string, EventRow[]>();
  readonly #keys = new Map<string, KeyRow>();
  readonly #changes = new JobChanges();
  readonly #rows: EndingRows;

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
    this.#rows = {
      find: async (id) => this.#jobs.get(id),
      expired: async () => [...this.#jobs.values()].filter((row) => this.#isExpired(row)),
      readEvents: (id, from, limits) => this.readEvents(id, from, limits),
      move: async (row, to) => this.#move(row, to),
      markCancel: async (row, detail) => this.#markCancel(row, detail),
    };
  }

  async accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }> {
    const { id, owner, key } = input;
    const now = this.#time();
    const name = key && JSON.stringify([owner, key.value]);
    const made = name && this.#keys.get(name);
    if (key && made && made.expiresAt > now) {
      checkKey(key, made.fingerprint);
      return { job: toJob(this.#row(made.jobId)), replayed: true };
    }
    this.#jobs.set(id, newRow(input, now));
    this.#put(id, accepted);
    if (key && name) {
      const { fingerprint, ttlMs } = key;
      this.#keys.set(name, { jobId: id, fingerprint, expiresAt: this.#time(ttlMs) });
    }
    this.#changes.tell([id]);
    return { job: toJob(this.#row(id)), replayed: false };
  }

  async get(id: string): Promise<Job | undefined> {
    const row = this.#jobs.get(id);
    return row && toJob(row);
  }

  async list(query: ListQuery): Promise<Job[]> {
    const { limit, beforeId } = query;
    const wanted = listCombinations(query);
    return [...this.#jobs.values()]
      .filter(({ id }) => beforeId === undefined || id < beforeId)
      .filter((row) => wanted?.some((w) => w.type === row.type && w.status === row.status) ?? true)
      .sort((a, b) => (a.id < b.id ? 1 : -1))
      .slice(0, limit)
      .map(toJob);
  }

  async claim({ runnerId, strongest, max, leaseTtlMs }: ClaimInput): Promise<ClaimedJob[]> {
    const taken = [...this.#jobs.values()]
      .filter((row) => row.status === "queued" && row.isolation <= strength(strongest))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, max);
    const claimed = taken.map((queued) => {
      const seq = Number(queued.last_seq) + 1;
      const row: JobRow = {
        ...queued,
        status: "running",
        epoch: Number(queued.epoch) + 1,
        attempt: queued.attempt + 1,
        runner: runnerId,
        started_at: this.#time(),
        lease_expires_at: this.#time(leaseTtlMs),
        attempt_seq: seq,
      };
      this.#jobs.set(row.id, row);
      this.#put(row.id, running(row));
      return { job: toJob(this.#row(row.id)), epoch: Number(row.epoch), nextSeq: seq + 1 };
    });
    this.#changes.tell(taken.map((row) => row.id));
    return claimed;
  }

  async renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]> {
    return leases.map(({ jobId, epoch }) => {
      const row = this.#jobs.get(jobId);
      if (row?.status !== "running" || row.epoch !== epoch) {
        return { jobId, fenced: true, cancelRequested: false };
      }
      this.#jobs.set(jobId, { ...row, lease_expires_at: this.#time(leaseTtlMs) });
      return { jobId, fenced: false, cancelRequested: Boolean(row.cancel_requested) };
    });
  }

  async append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number> {
    checkBatch(lease, events);
    const rows = events.map((event) => ({ seq: event.seq, body: eventBody(event) }));
    const row = this.#jobs.get(lease.jobId);
    checkHeld(row, lease);
    for (const { body } of newEvents(row, rows)) this.#put(lease.jobId, body);
    this.#changes.tell([lease.jobId]);
    return Number(this.#row(lease.jobId).last_seq);
  }

  finish(lease: LeaseRef, seq: number, result: JobResult): Promise<Job> {
    return finish(this.#rows, lease, seq, result);
  }

  release(lease: LeaseRef, detail: string): Promise<void> {
    return release(this.#rows, lease, detail);
  }

  requestCancel(id: string, detail: string): Promise<Job> {
    return requestCancel(this.#rows, id, detail);
  }

  async sweep(): Promise<SweptJob[]> {
    const now = this.#time();
    for (const [name, key] of this.#keys) {
      if (key.expiresAt <= now) this.#keys.delete(name);
    }
    return await sweep(this.#rows);
  }

  async readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]> {
    const events: JobEvent[] = [];
    let bytes = 0;
    const start = Math.max(0, from - 1);
    for (const row of (this.#events.get(id) ?? []).slice(start, start + limits.maxEvents)) {
      bytes += payloadBytes(row);
      if (events.length > 0 && bytes > limits.maxBytes) break;
      events.push(toEvent(row));
    }
    return events;
  }

  async stats(): Promise<QueueStats> {
    const count = (status: string) =>
      [...this.#jobs.values()].filter((row) => row.status === status).length;
    return { queued: count("queued"), running: count("running") };
  }

  onChange(listener: (jobId: string) => void): () => void {
    return this.#changes.add(listener);
  }

  async ping(): Promise<void> {}

  async close(): Promise<void> {
    this.#changes.clear();
  }

  #move(row: JobRow, to: Transition): JobRow | undefined {
    const now = this.#row(row.id);
    const unchanged =
      now.epoch === row.epoch &&
      now.status === row.status &&
      now.last_seq === row.last_seq &&
      now.cancel_requested === row.cancel_requested;
    if (!unchanged || (to.onlyExpired && !this.#isExpired(now))) return undefined;
    const body = eventBody(to.event);
    this.#jobs.set(row.id, {
      ...now,
      status: to.status,
      epoch: to.epoch,
      attempt: to.attempt,
      cancel_requested: to.cancelRequested,
      lease_expires_at: null,
      ...(body.kind === "result" && { ended_at: this.#time(), result: String(body.payload) }),
    });
    this.#put(row.id, body);
    this.#changes.tell([row.id]);
    return this.#row(row.id);
  }

  #markCancel(row: JobRow, detail: string): JobRow | undefined {
    const now = this.#row(row.id);
    if (now.status !== "running" || now.epoch !== row.epoch || now.cancel_requested)
      return undefined;
    this.#jobs.set(row.id, { ...now, cancel_requested: true, cancel_detail: detail });
    this.#changes.tell([row.id]);
    return this.#row(row.id);
  }

  /** Adds an event, and moves the log's end on. Bytes are copied: the caller may use its again. */
  #put(id: string, body: EventBody): void {
    const row = this.#row(id);
    const seq = Number(row.last_seq) + 1;
    const events = this.#events.get(id) ?? [];
    const payload = typeof body.payload === "string" ? body.payload : body.payload.slice();
    events.push({ ...body, payload, seq, ts: this.#time() });
    this.#events.set(id, events);
    this.#jobs.set(id, { ...row, last_seq: seq });
  }

  #isExpired(row: JobRow): boolean {
    return row.status === "running" && String(row.lease_expires_at) <= this.#time();
  }

  #row(id: string): JobRow {
    const row = this.#jobs.get(id);
    if (row === undefined) throw new Error(`no row of job ${id}`);
    return row;
  }

  #time(plusMs = 0): string {
    return new Date(this.#clock.now() + plusMs).toISOString();
  }
}

function newRow({ id, owner, spec, maxAttempts }: AcceptInput, now: string): JobRow {
  return {
    ...{ id, owner, ...specColumns(spec), max_attempts: maxAttempts },
    ...{ status: "queued", attempt: 0, epoch: 0, runner: "", lease_expires_at: null },
    ...{ last_seq: 0, attempt_seq: 0, cancel_requested: false, cancel_detail: "" },
    ...{ created_at: now, started_at: null, ended_at: null, result: null },
  };
}
