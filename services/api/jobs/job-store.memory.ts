/**
 * The job store in memory: rows as in the tables, a scan for each claim. Real
 * in what it promises, and gone with the process. Long because it is all of the
 * port in one place; its rules are elsewhere.
 */
import type { AgentAnswer } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { FencedWrite, Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { JobResult } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { Clock, Random } from "@devmesh/mesh/runtime";
import { answerQuestion, toAnswer } from "./job-answers.ts";
import { requestCancel } from "./job-cancels.ts";
import { JobChanges } from "./job-changes.ts";
import {
  checkHeld,
  type EndingRows,
  finish,
  release,
  sweep,
  type Transition,
} from "./job-endings.ts";
import { MemoryFences } from "./job-fences.memory.ts";
import { type FencedAction, noteFenced } from "./job-fences.ts";
import { holderOf, isPlaced } from "./job-placement.ts";
import { MemoryJobQueue, type MemoryJobRow, newRow } from "./job-queue.memory.ts";
import {
  type EventBody,
  type EventRow,
  eventBody,
  type JobRow,
  payloadBytes,
  type RowTime,
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
  toClaimed,
  trimmed,
} from "./job-rules.ts";
import type {
  AcceptInput,
  CancelInput,
  ClaimedJob,
  ClaimInput,
  JobStore,
  KeyInput,
  LeaseRef,
  LeaseState,
  ListQuery,
  QueueFacts,
  QueueState,
  QueueStats,
  ReadLimits,
  SweptJob,
  TrimInput,
} from "./job-store.ts";

interface KeyRow {
  readonly jobId: string;
  readonly fingerprint: string;
  readonly expiresAt: string;
}

interface LeaseRow {
  readonly epoch: number;
  readonly expiresAt: string;
}

/** What the store works with. */
export interface MemoryJobStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
}

/** Jobs in this process. No method awaits between its reads and its writes. */
export class MemoryJobStore implements JobStore {
  readonly #clock: Clock;
  readonly #jobs = new Map<string, MemoryJobRow>();
  readonly #queue = new MemoryJobQueue(this.#jobs);
  readonly #events = new Map<string, EventRow[]>();
  readonly #keys = new Map<string, KeyRow>();
  readonly #leases = new Map<string, LeaseRow>();
  readonly #fences = new MemoryFences();
  readonly #changes = new JobChanges();
  readonly #rows: EndingRows;
  #paused: { readonly at: Date; readonly detail: string } | undefined;

  constructor({ clock, random }: MemoryJobStoreOptions) {
    this.#clock = clock;
    this.#rows = {
      random,
      now: async () => new Date(this.#clock.now()),
      find: async (id) => this.#jobs.get(id),
      expired: async () => [...this.#jobs.values()].filter((row) => this.#isExpired(row)),
      queueExpired: async () =>
        this.#queue.queued().filter((row) => this.#isPast(row.queue_expires_at)),
      readEvents: (id, from, limits) => this.readEvents(id, from, limits),
      move: async (row, to) => this.#move(row, to),
      markCancel: async (row, input) => this.#markCancel(row, input),
    };
  }

  async accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }> {
    const { id, owner, key } = input;
    const made = key && this.#findKey(owner, key);
    if (made) return { job: toJob(made), replayed: true };
    this.#jobs.set(
      id,
      newRow(input, (plusMs) => this.#time(plusMs)),
    );
    this.#put(id, accepted);
    if (key) {
      const { fingerprint, ttlMs } = key;
      const name = nameOfKey(owner, key.value);
      this.#keys.set(name, { jobId: id, fingerprint, expiresAt: this.#time(ttlMs) });
    }
    this.#queue.fill(this.#row(id));
    this.#changes.tell([id]);
    return { job: toJob(this.#row(id)), replayed: false };
  }

  async findByKey(owner: string, key: KeyInput): Promise<Job | undefined> {
    const row = this.#findKey(owner, key);
    return row && toJob(row);
  }

  async get(id: string): Promise<Job | undefined> {
    const row = this.#jobs.get(id);
    return row && toJob(row);
  }

  async list(query: ListQuery): Promise<Job[]> {
    const { limit, beforeId, owner } = query;
    const wanted = listCombinations(query);
    return [...this.#jobs.values()]
      .filter((row) => owner === undefined || row.owner === owner)
      .filter(({ id }) => beforeId === undefined || id < beforeId)
      .filter((row) => wanted?.some((w) => w.type === row.type && w.status === row.status) ?? true)
      .sort((a, b) => (a.id < b.id ? 1 : -1))
      .slice(0, limit)
      .map(toJob);
  }

  async claim(input: ClaimInput): Promise<ClaimedJob[]> {
    const { runnerId, strongest, max, leaseTtlMs, labels = {}, holder = "" } = input;
    this.#queue.promote(this.#time());
    if (this.#paused) return [];
    const taken = this.#queue
      .next()
      .filter((row) => row.isolation <= strength(strongest) && isPlaced(row.placement, labels))
      .slice(0, max);
    const claimed = taken.map((queued) => {
      const seq = Number(queued.last_seq) + 1;
      const epoch = Number(queued.epoch) + 1;
      const row: MemoryJobRow = {
        ...queued,
        status: "running",
        epoch,
        attempt: queued.attempt + 1,
        runner: runnerId,
        started_at: this.#time(),
        queue_expires_at: null,
        attempt_seq: seq,
        holder,
      };
      this.#jobs.set(row.id, row);
      this.#leases.set(row.id, { epoch, expiresAt: this.#time(leaseTtlMs) });
      this.#put(row.id, running(row));
      return toClaimed(this.#row(row.id));
    });
    this.#changes.tell(taken.map((row) => row.id));
    return claimed;
  }

  async leaseHolder({ jobId, epoch }: LeaseRef): Promise<string | undefined> {
    const row = this.#jobs.get(jobId);
    return row && holderOf(row, epoch);
  }

  async renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]> {
    return leases.map((lease) => {
      const { jobId, epoch } = lease;
      if (this.#leases.get(jobId)?.epoch !== epoch) {
        this.#noteFence(lease, "renew");
        return { jobId, fenced: true, cancelRequested: false };
      }
      this.#leases.set(jobId, { epoch, expiresAt: this.#time(leaseTtlMs) });
      const row = this.#row(jobId);
      const answer = toAnswer(row.answer);
      const cancelRequested = Boolean(row.cancel_requested);
      return { jobId, fenced: false, cancelRequested, ...(answer && { answer }) };
    });
  }

  append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number> {
    return this.#noting(lease, "append", async () => {
      checkBatch(lease, events);
      const rows = events.map((event) => ({ seq: event.seq, body: eventBody(event) }));
      const row = this.#jobs.get(lease.jobId);
      checkHeld(row, lease);
      for (const { body } of newEvents(row, rows)) this.#put(lease.jobId, body);
      this.#changes.tell([lease.jobId]);
      return Number(this.#row(lease.jobId).last_seq);
    });
  }

  finish(lease: LeaseRef, seq: number, result: JobResult): Promise<Job> {
    return this.#noting(lease, "finish", () => finish(this.#rows, lease, seq, result));
  }

  release(lease: LeaseRef, detail: string): Promise<void> {
    return this.#noting(lease, "release", () => release(this.#rows, lease, detail));
  }

  requestCancel(id: string, input: CancelInput): Promise<Job> {
    return requestCancel(this.#rows, id, input);
  }

  answer(id: string, answer: AgentAnswer): Promise<Job> {
    const rows = { ...this.#rows, markAnswer: this.#markAnswer };
    return answerQuestion(rows, id, answer);
  }

  async sweep(): Promise<SweptJob[]> {
    for (const [name, key] of this.#keys) {
      if (this.#isPast(key.expiresAt)) this.#keys.delete(name);
    }
    const swept = await sweep(this.#rows);
    this.#queue.promote(this.#time());
    for (const row of this.#queue.queued()) this.#queue.fill(row);
    return swept;
  }

  async readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]> {
    const events: JobEvent[] = [];
    let bytes = 0;
    const log = (this.#events.get(id) ?? []).filter(({ seq }) => Number(seq) >= from);
    for (const row of log.slice(0, limits.maxEvents)) {
      bytes += payloadBytes(row);
      if (events.length > 0 && bytes > limits.maxBytes) break;
      events.push(toEvent(row));
    }
    return events;
  }

  async fencedWrites(id: string): Promise<FencedWrite[]> {
    return this.#fences.of(id);
  }

  async trim({ endedBeforeMs, limit }: TrimInput): Promise<string[]> {
    const since = this.#time(-endedBeforeMs);
    const old = [...this.#jobs.values()]
      .filter((row) => row.ended_at !== null && !row.trimmed && String(row.ended_at) <= since)
      .sort((a, b) => (String(a.ended_at) < String(b.ended_at) ? -1 : 1))
      .slice(0, limit);
    for (const row of old) {
      const log = this.#events.get(row.id) ?? [];
      const seq = Number(row.last_seq) - 1;
      const logs = log.filter(({ kind }) => kind === "log");
      const bytes = logs.reduce((sum, event) => sum + payloadBytes(event), 0);
      const tombstone = { ...trimmed(bytes, endedBeforeMs), seq, ts: this.#time() };
      this.#events.set(row.id, [tombstone, ...log.slice(-1)]);
      this.#jobs.set(row.id, { ...row, trimmed: true });
    }
    const ids = old.map(({ id }) => id);
    this.#changes.tell(ids);
    return ids;
  }

  async stats(): Promise<QueueStats> {
    const running = [...this.#jobs.values()].filter((row) => row.status === "running").length;
    return { queued: this.#queue.queued().length, running };
  }

  async queue(): Promise<QueueState> {
    const { at, detail } = this.#paused ?? { at: undefined, detail: "" };
    const stats = await this.stats();
    return { ...stats, paused: at !== undefined, pauseDetail: detail, pausedAt: at };
  }

  async pause(detail: string): Promise<void> {
    this.#paused ??= { at: new Date(this.#clock.now()), detail };
  }

  async resume(): Promise<void> {
    this.#paused = undefined;
  }

  async explain(id: string): Promise<QueueFacts | undefined> {
    const row = this.#jobs.get(id);
    if (row === undefined) return undefined;
    const { hold } = row;
    const place = this.#queue.ahead(row);
    const holders = hold === "key" ? this.#queue.active(row).slice(0, 10) : [];
    return {
      ...{ job: toJob(row), hold, paused: this.#paused !== undefined },
      pauseDetail: this.#paused?.detail ?? "",
      ahead: Math.min(1_000, place),
      holders: holders.map((holder) => holder.id),
    };
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
      Boolean(now.cancel_requested) === Boolean(row.cancel_requested);
    if (!unchanged || (to.onlyExpired && !this.#isExpired(now))) return undefined;
    const body = eventBody(to.event);
    this.#jobs.set(row.id, {
      ...now,
      status: to.status,
      epoch: to.epoch,
      attempt: to.attempt,
      hold: to.hold,
      available_at: to.hold === "delay" ? this.#time(to.delayMs) : null,
      retried_epoch: to.retriedEpoch,
      retried_holder: to.retriedEpoch === now.epoch ? now.holder : now.retried_holder,
      ...(to.cancel && cancelColumns(to.cancel, to.cancel.at)),
      ...(body.kind === "result" && { ended_at: this.#time(), result: String(body.payload) }),
    });
    this.#leases.delete(row.id);
    this.#put(row.id, body);
    this.#queue.fill(now);
    this.#changes.tell([row.id]);
    return this.#row(row.id);
  }

  #markCancel(row: JobRow, input: CancelInput): JobRow | undefined {
    const now = this.#row(row.id);
    if (now.status !== "running" || now.epoch !== row.epoch || now.cancel_requested)
      return undefined;
    const asked = cancelColumns(input, new Date(this.#clock.now()));
    this.#jobs.set(row.id, { ...now, ...asked });
    this.#changes.tell([row.id]);
    return this.#row(row.id);
  }

  readonly #markAnswer = async (id: string, questionSeq: number, answer: string) => {
    const row = this.#row(id);
    const isOver = row.status !== "queued" && row.status !== "running";
    if (isOver || Number(row.answer_seq) >= questionSeq) return undefined;
    this.#jobs.set(id, { ...row, answer_seq: questionSeq, answer });
    this.#changes.tell([id]);
    return this.#row(id);
  };

  #noting<T>(lease: LeaseRef, action: FencedAction, work: () => Promise<T>): Promise<T> {
    return noteFenced(async () => this.#noteFence(lease, action), lease, action, work);
  }

  #noteFence(lease: LeaseRef, action: FencedAction): void {
    this.#fences.note(this.#jobs.get(lease.jobId), lease, action, this.#time());
  }

  #findKey(owner: string, key: KeyInput): MemoryJobRow | undefined {
    const made = this.#keys.get(nameOfKey(owner, key.value));
    if (made === undefined || this.#isPast(made.expiresAt)) return undefined;
    checkKey(key, made.fingerprint, made.jobId);
    return this.#row(made.jobId);
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

  #isExpired({ id, status }: JobRow): boolean {
    return status === "running" && this.#isPast(this.#leases.get(id)?.expiresAt ?? null);
  }

  #isPast(time: RowTime | null): boolean {
    return time !== null && String(time) <= this.#time();
  }

  #row(id: string): MemoryJobRow {
    const row = this.#jobs.get(id);
    if (row === undefined) throw new Error(`no row of job ${id}`);
    return row;
  }

  #time(plusMs = 0): string {
    return new Date(this.#clock.now() + plusMs).toISOString();
  }
}

function cancelColumns({ by, detail }: CancelInput, at: Date) {
  return { cancel_requested: true, cancel_by: by, cancel_detail: detail, cancel_at: at };
}

function nameOfKey(owner: string, value: string): string {
  return JSON.stringify([owner, value]);
}
