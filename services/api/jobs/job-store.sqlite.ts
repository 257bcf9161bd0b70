/**
 * The job store on SQLite. Every call is synchronous inside, so that no two
 * interleave; other processes are kept out by BEGIN IMMEDIATE. Long because it
 * is all of the port in one place; its rules and its SQL are elsewhere.
 */
import type { DatabaseSync } from "node:sqlite";
import type { AgentAnswer } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { FencedWrite, Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { JobResult } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import { inTransaction } from "@devmesh/mesh/database";
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
import { type FencedAction, type FenceRow, noteFenced, toFencedWrite } from "./job-fences.ts";
import { type HolderRow, holderOf } from "./job-placement.ts";
import { SqliteJobQueue, type Statements } from "./job-queue.sqlite.ts";
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
  toClaimed,
  trimmed,
} from "./job-rules.ts";
import { jobSql } from "./job-sql.sqlite.ts";
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

/** What the store works with. */
export interface SqliteJobStoreOptions {
  /** Opened with the migrations of `migrations/sqlite`; closed by who opened it. */
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly random: Random;
}

/** Jobs in a SQLite file. */
export class SqliteJobStore implements JobStore {
  readonly #db: DatabaseSync;
  readonly #clock: Clock;
  readonly #sql: Statements;
  readonly #queue: SqliteJobQueue;
  readonly #changes = new JobChanges();
  readonly #rows: EndingRows;
  readonly #noteFence: (lease: LeaseRef, action: FencedAction) => Promise<void>;

  constructor({ db, clock, random }: SqliteJobStoreOptions) {
    this.#db = db;
    this.#clock = clock;
    this.#sql = Object.fromEntries(
      Object.entries(jobSql).map(([name, text]) => [name, db.prepare(text)]),
    ) as Statements;
    this.#queue = new SqliteJobQueue(db, this.#sql);
    this.#rows = {
      random,
      now: async () => new Date(this.#clock.now()),
      find: async (id) => this.#find(id),
      expired: async () => this.#rowsOf(this.#sql.expired.all(this.#time()), "job_id"),
      queueExpired: async () => this.#rowsOf(this.#sql.queueExpired.all(this.#time()), "id"),
      readEvents: (id, from, limits) => this.readEvents(id, from, limits),
      move: async (row, to) => this.#move(row, to),
      markCancel: async (row, input) => this.#markCancel(row, input),
    };
    this.#noteFence = async ({ jobId, epoch }, action) => {
      this.#sql.noteFence.run(jobId, epoch, action, this.#time());
    };
  }

  async accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }> {
    const { key } = input;
    const accept = () => inTransaction(this.#db, () => this.#accept(input));
    const { row, replayed } = key === undefined ? accept() : this.#durably(accept);
    if (!replayed) this.#changes.tell([row.id]);
    return { job: toJob(row), replayed };
  }

  async findByKey(owner: string, key: KeyInput): Promise<Job | undefined> {
    const row = this.#findKey(owner, key);
    return row && toJob(row);
  }

  async get(id: string): Promise<Job | undefined> {
    const row = this.#find(id);
    return row && toJob(row);
  }

  async list(query: ListQuery): Promise<Job[]> {
    const { limit, beforeId = "\u{10ffff}", owner } = query;
    const combinations = listCombinations(query);
    const found = combinations
      ? combinations.flatMap(({ type, status }) =>
          owner === undefined
            ? this.#sql.listSome.all(beforeId, limit, type, status)
            : this.#sql.listOwned.all(beforeId, limit, type, status, owner),
        )
      : this.#sql.listAll.all(beforeId, limit);
    const ids = found.map((row) => String(row.id)).sort((a, b) => (a < b ? 1 : -1));
    return ids
      .slice(0, limit)
      .map((id) => this.#find(id))
      .filter((row) => row !== undefined)
      .map(toJob);
  }

  async claim(input: ClaimInput): Promise<ClaimedJob[]> {
    const { runnerId, strongest, max, labels = {}, holder = "" } = input;
    const now = this.#time();
    const end = this.#time(input.leaseTtlMs);
    const rows = inTransaction(this.#db, () => {
      const rows: JobRow[] = [];
      this.#queue.promote(now);
      if (this.#queue.pauseDetail() !== undefined) return rows;
      for (const id of this.#queue.next(strength(strongest), labels)) {
        const row = this.#sql.claim.get(id, runnerId, now, holder) as unknown as JobRow;
        this.#sql.putLease.run(id, row.epoch, runnerId, end);
        this.#insert(id, Number(row.last_seq), now, running(row));
        if (rows.push(row) === max) break;
      }
      return rows;
    });
    this.#changes.tell(rows.map((row) => row.id));
    return rows.map(toClaimed);
  }

  async leaseHolder({ jobId, epoch }: LeaseRef): Promise<string | undefined> {
    const row = this.#sql.leaseHolder.get(jobId);
    return row && holderOf(row as unknown as HolderRow, epoch);
  }

  async renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]> {
    const wanted = JSON.stringify(leases.map(({ jobId, epoch }) => [jobId, epoch]));
    const rows = this.#sql.renew.all(wanted, this.#time(leaseTtlMs));
    const held = new Map(rows.map((row) => [`${row.epoch} ${row.job_id}`, row]));
    const states: LeaseState[] = [];
    for (const lease of leases) {
      const row = held.get(`${lease.epoch} ${lease.jobId}`);
      if (!row) await this.#noteFence(lease, "renew");
      const cancelRequested = row?.cancel_requested === 1;
      const answer = toAnswer(String(row?.answer ?? ""));
      states.push({ jobId: lease.jobId, fenced: !row, cancelRequested, ...(answer && { answer }) });
    }
    return states;
  }

  append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number> {
    return noteFenced(this.#noteFence, lease, "append", async () => {
      checkBatch(lease, events);
      const rows = events.map((event) => ({ seq: event.seq, body: eventBody(event) }));
      const last = inTransaction(this.#db, () => {
        const { fresh, last } = this.#advance(lease, rows);
        const now = this.#time();
        for (const { seq, body } of fresh) this.#insert(lease.jobId, seq, now, body);
        return last;
      });
      this.#changes.tell([lease.jobId]);
      return last;
    });
  }

  finish(lease: LeaseRef, seq: number, result: JobResult): Promise<Job> {
    const work = () => finish(this.#rows, lease, seq, result);
    return noteFenced(this.#noteFence, lease, "finish", work);
  }

  release(lease: LeaseRef, detail: string): Promise<void> {
    const work = () => release(this.#rows, lease, detail);
    return noteFenced(this.#noteFence, lease, "release", work);
  }

  requestCancel(id: string, input: CancelInput): Promise<Job> {
    return requestCancel(this.#rows, id, input);
  }

  answer(id: string, answer: AgentAnswer): Promise<Job> {
    const rows = { ...this.#rows, markAnswer: this.#markAnswer };
    return answerQuestion(rows, id, answer);
  }

  async sweep(): Promise<SweptJob[]> {
    this.#sql.dropKeys.run(this.#time());
    const swept = await sweep(this.#rows);
    inTransaction(this.#db, () => this.#queue.promote(this.#time()));
    await this.#queue.fillAll();
    return swept;
  }

  async readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]> {
    const events: JobEvent[] = [];
    let bytes = 0;
    for (const found of this.#sql.readEvents.iterate(id, from, limits.maxEvents)) {
      const row = found as unknown as EventRow;
      bytes += payloadBytes(row);
      if (events.length > 0 && bytes > limits.maxBytes) break;
      events.push(toEvent(row));
    }
    return events;
  }

  async fencedWrites(id: string): Promise<FencedWrite[]> {
    return (this.#sql.fences.all(id) as unknown as FenceRow[]).map(toFencedWrite);
  }

  async trim({ endedBeforeMs, limit }: TrimInput): Promise<string[]> {
    const found = this.#sql.trimmable.all(this.#time(-endedBeforeMs), limit);
    for (const { id, last_seq } of found) {
      this.#trim(String(id), Number(last_seq) - 1, endedBeforeMs);
    }
    const ids = found.map(({ id }) => String(id));
    this.#changes.tell(ids);
    return ids;
  }

  async stats(): Promise<QueueStats> {
    const { queued, running } = this.#queue.state();
    return { queued, running };
  }

  async queue(): Promise<QueueState> {
    return this.#queue.state();
  }

  async pause(detail: string): Promise<void> {
    this.#sql.pause.run(this.#time(), detail);
  }

  async resume(): Promise<void> {
    this.#sql.resume.run();
  }

  async explain(id: string): Promise<QueueFacts | undefined> {
    const row = this.#find(id);
    return row && this.#queue.explain(row);
  }

  onChange(listener: (jobId: string) => void): () => void {
    return this.#changes.add(listener);
  }

  async ping(): Promise<void> {
    this.#sql.find.get("");
  }

  async close(): Promise<void> {
    this.#changes.clear();
  }

  #accept(input: AcceptInput): { row: JobRow; replayed: boolean } {
    const { id, owner, key, maxAttempts } = input;
    const made = key && this.#findKey(owner, key);
    if (made) return { row: made, replayed: true };
    const columns = specColumns(input.spec);
    const { type, isolation, spec, priority, hold, delayMs, queueTimeoutMs } = columns;
    const now = this.#time();
    const row = this.#sql.insertJob.get(
      ...[id, owner, type, isolation, spec, maxAttempts, now, priority, hold],
      delayMs === undefined ? null : this.#time(delayMs),
      queueTimeoutMs === undefined ? null : this.#time(queueTimeoutMs),
      ...[columns.concurrency_key, columns.concurrency_limit, columns.placement],
    ) as unknown as JobRow;
    this.#insert(id, 1, now, accepted);
    if (key) {
      this.#sql.putKey.run(owner, key.value, key.fingerprint, id, this.#time(key.ttlMs));
    }
    this.#queue.fill(row);
    return { row, replayed: false };
  }

  #findKey(owner: string, key: KeyInput): JobRow | undefined {
    const made = this.#sql.findKey.get(owner, key.value, this.#time());
    if (made === undefined) return undefined;
    checkKey(key, String(made.fingerprint), String(made.job_id));
    return this.#find(String(made.job_id));
  }

  /** Does a transaction whose commit, and all before it, waits until the disk has it. */
  #durably<T>(work: () => T): T {
    const { synchronous } = this.#db.prepare("PRAGMA synchronous").get() ?? {};
    this.#db.exec("PRAGMA synchronous = FULL");
    try {
      return work();
    } finally {
      this.#db.exec(`PRAGMA synchronous = ${synchronous}`);
    }
  }

  #trim(id: string, lastGone: number, keptMs: number): void {
    inTransaction(this.#db, () => {
      if (this.#sql.markTrimmed.run(id, lastGone).changes === 0) return;
      const bytes = Number(this.#sql.logBytes.get(id, lastGone)?.bytes);
      this.#sql.dropEvents.run(id, lastGone);
      this.#insert(id, lastGone, this.#time(), trimmed(bytes, keptMs));
    });
  }

  /** Moves the log's end on and answers which events are new. */
  #advance<E extends { seq: number }>(
    lease: LeaseRef,
    events: readonly E[],
  ): { fresh: readonly E[]; last: number } {
    const { jobId, epoch } = lease;
    const first = events[0]?.seq ?? 0;
    const last = first + events.length - 1;
    if (events.length > 0) {
      const { changes } = this.#sql.advance.run(jobId, epoch, first - 1, last);
      if (changes === 1) return { fresh: events, last };
    }
    const row = this.#find(jobId);
    checkHeld(row, lease);
    const stored = Number(row.last_seq);
    const fresh = newEvents(row, events);
    if (fresh.length === 0) return { fresh, last: stored };
    this.#sql.advance.run(jobId, epoch, stored, last);
    return { fresh, last };
  }

  #move(row: JobRow, to: Transition): JobRow | undefined {
    const now = this.#time();
    const body = eventBody(to.event);
    const ended = body.kind === "result";
    const { cancel } = to;
    const moved = inTransaction(this.#db, () => {
      const moved = this.#sql.move.get(
        ...[row.id, row.epoch, row.status, row.last_seq, Number(row.cancel_requested)],
        ...[to.status, to.epoch, to.attempt, to.hold],
        to.hold === "delay" ? this.#time(to.delayMs) : null,
        to.retriedEpoch,
        ...(ended ? [body.payload, now] : [null, null]),
        to.onlyExpired ? now : null,
        ...(cancel ? [cancel.by, cancel.detail, cancel.at.toISOString()] : [null, null, null]),
      ) as JobRow | undefined;
      if (moved === undefined) return undefined;
      if (row.status === "running") this.#sql.dropLease.run(row.id);
      this.#insert(row.id, Number(moved.last_seq), now, body);
      this.#queue.fill(moved);
      return moved;
    });
    if (moved) this.#changes.tell([row.id]);
    return moved;
  }

  #markCancel(row: JobRow, { by, detail }: CancelInput): JobRow | undefined {
    const marked = this.#sql.markCancel.get(row.id, row.epoch, by, detail, this.#time());
    if (marked) this.#changes.tell([row.id]);
    return marked as JobRow | undefined;
  }

  readonly #markAnswer = async (id: string, questionSeq: number, answer: string) => {
    const marked = this.#sql.markAnswer.get(id, questionSeq, answer);
    if (marked) this.#changes.tell([id]);
    return marked as JobRow | undefined;
  };

  #rowsOf(found: readonly Record<string, unknown>[], column: "id" | "job_id"): JobRow[] {
    return found.map((row) => this.#find(String(row[column]))).filter((row) => row !== undefined);
  }

  #find(id: string): JobRow | undefined {
    return this.#sql.find.get(id) as JobRow | undefined;
  }

  #insert(jobId: string, seq: number, ts: string, body: EventBody): void {
    const { kind, level, stream, message, payload } = body;
    this.#sql.insertEvent.run(jobId, seq, ts, kind, level, stream, message, payload);
  }

  #time(plusMs = 0): string {
    return new Date(this.#clock.now() + plusMs).toISOString();
  }
}
