/**
 * The job store on SQLite. Every call is synchronous inside, so that no two
 * interleave; other processes are kept out by BEGIN IMMEDIATE.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Job, JobEvent, JobResult } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { inTransaction } from "@devmesh/mesh/database";
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
import { jobSql } from "./job-sql.sqlite.ts";
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

/** What the store works with. */
export interface SqliteJobStoreOptions {
  /** Opened with the migrations of `migrations/sqlite`; closed by who opened it. */
  readonly db: DatabaseSync;
  readonly clock: Clock;
}

type Statements = Record<keyof typeof jobSql, StatementSync>;

/** Jobs in a SQLite file. */
export class SqliteJobStore implements JobStore {
  readonly #db: DatabaseSync;
  readonly #clock: Clock;
  readonly #sql: Statements;
  readonly #changes = new JobChanges();
  readonly #rows: EndingRows;

  constructor({ db, clock }: SqliteJobStoreOptions) {
    this.#db = db;
    this.#clock = clock;
    this.#sql = Object.fromEntries(
      Object.entries(jobSql).map(([name, text]) => [name, db.prepare(text)]),
    ) as Statements;
    this.#rows = {
      find: async (id) => this.#find(id),
      expired: async () => this.#sql.expired.all(this.#time()) as unknown as JobRow[],
      readEvents: (id, from, limits) => this.readEvents(id, from, limits),
      move: async (row, to) => this.#move(row, to),
      markCancel: async (row, detail) => this.#markCancel(row, detail),
    };
  }

  async accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }> {
    const { id, owner, key, maxAttempts } = input;
    const { type, isolation, spec } = specColumns(input.spec);
    const now = this.#time();
    const { row, replayed } = inTransaction(this.#db, () => {
      const made = key && this.#sql.findKey.get(owner, key.value, now);
      if (key && made) {
        checkKey(key, String(made.fingerprint));
        return { row: this.#sql.find.get(String(made.job_id)), replayed: true };
      }
      const row = this.#sql.insertJob.get(id, owner, type, isolation, spec, maxAttempts, now);
      this.#insert(id, 1, now, accepted);
      if (key) {
        const end = this.#time(key.ttlMs);
        this.#sql.putKey.run(owner, key.value, key.fingerprint, id, end);
      }
      return { row, replayed: false };
    });
    if (!replayed) this.#changes.tell([id]);
    return { job: toJob(row as unknown as JobRow), replayed };
  }

  async get(id: string): Promise<Job | undefined> {
    const row = this.#find(id);
    return row && toJob(row);
  }

  async list(query: ListQuery): Promise<Job[]> {
    const { limit, beforeId = "\u{10ffff}" } = query;
    const combinations = listCombinations(query);
    const found = combinations
      ? combinations.flatMap(({ type, status }) =>
          this.#sql.listSome.all(beforeId, limit, type, status),
        )
      : this.#sql.listAll.all(beforeId, limit);
    const ids = found.map((row) => String(row.id)).sort((a, b) => (a < b ? 1 : -1));
    return ids
      .slice(0, limit)
      .map((id) => this.#find(id))
      .filter((row) => row !== undefined)
      .map(toJob);
  }

  async claim({ runnerId, strongest, max, leaseTtlMs }: ClaimInput): Promise<ClaimedJob[]> {
    const now = this.#time();
    const end = this.#time(leaseTtlMs);
    const rows = inTransaction(this.#db, () => {
      const rows: JobRow[] = [];
      while (rows.length < max) {
        const id = this.#oldest(strength(strongest));
        if (id === undefined) break;
        const row = this.#sql.claim.get(id, runnerId, now, end) as unknown as JobRow;
        this.#insert(id, Number(row.last_seq), now, running(row));
        rows.push(row);
      }
      return rows;
    });
    this.#changes.tell(rows.map((row) => row.id));
    return rows.map((row) => ({
      job: toJob(row),
      epoch: Number(row.epoch),
      nextSeq: Number(row.last_seq) + 1,
    }));
  }

  async renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]> {
    const end = this.#time(leaseTtlMs);
    return inTransaction(this.#db, () =>
      leases.map(({ jobId, epoch }) => {
        const held = this.#sql.renew.get(jobId, epoch, end);
        return { jobId, fenced: !held, cancelRequested: held?.cancel_requested === 1 };
      }),
    );
  }

  async append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number> {
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
    this.#sql.dropKeys.run(this.#time());
    return await sweep(this.#rows);
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

  async stats(): Promise<QueueStats> {
    const row = this.#sql.stats.get();
    return { queued: Number(row?.queued), running: Number(row?.running) };
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

  /** The oldest queued job up to an isolation: the least of the queues' heads. */
  #oldest(strongest: number): string | undefined {
    let oldest: string | undefined;
    for (let isolation = 1; isolation <= strongest; isolation++) {
      const id = this.#sql.oldest.get(isolation)?.id as string | undefined;
      if (id !== undefined && (oldest === undefined || id < oldest)) oldest = id;
    }
    return oldest;
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
    const moved = inTransaction(this.#db, () => {
      const moved = this.#sql.move.get(
        ...[row.id, row.epoch, row.status, row.last_seq, Number(row.cancel_requested)],
        ...[to.status, to.epoch, to.attempt, Number(to.cancelRequested)],
        ...(ended ? [body.payload, now] : [null, null]),
        to.onlyExpired ? now : null,
      ) as JobRow | undefined;
      if (moved) this.#insert(row.id, Number(moved.last_seq), now, body);
      return moved;
    });
    if (moved) this.#changes.tell([row.id]);
    return moved;
  }

  #markCancel(row: JobRow, detail: string): JobRow | undefined {
    const marked = this.#sql.markCancel.get(row.id, row.epoch, detail);
    if (marked) this.#changes.tell([row.id]);
    return marked as JobRow | undefined;
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
