/**
 * The job store on Postgres, for many backends at once. Every change is one
 * statement, and so one transaction; the server's clock is the clock.
 */
import type { Job, JobEvent, JobResult } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
import { PostgresJobChanges } from "./job-changes.postgres.ts";
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
  strength,
} from "./job-rules.ts";
import { jobSql } from "./job-sql.postgres.ts";
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
export interface PostgresJobStoreOptions {
  /** Opened with the migrations of `migrations/postgres`; closed by who opened it. */
  readonly pool: Pool;
  /** Where the pool connects to; one more connection listens for changes. */
  readonly url: string;
}

const queries = new PostgresQueries("jobs", jobSql);

/** Jobs in a Postgres schema. */
export class PostgresJobStore implements JobStore {
  readonly #pool: Pool;
  readonly #changes: PostgresJobChanges;
  readonly #rows: EndingRows;

  constructor({ pool, url }: PostgresJobStoreOptions) {
    this.#pool = pool;
    this.#changes = new PostgresJobChanges(url);
    this.#rows = {
      find: (id) => this.#find(id),
      expired: () => queries.rows<JobRow>(pool, "expired"),
      readEvents: (id, from, limits) => this.readEvents(id, from, limits),
      move: (row, to) => this.#move(row, to),
      markCancel: (row, detail) =>
        queries.row<JobRow>(pool, "markCancel", [row.id, row.epoch, detail]),
    };
  }

  async accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }> {
    const { id, owner, key, maxAttempts } = input;
    const { type, isolation, spec } = specColumns(input.spec);
    for (;;) {
      const row = await queries.row<JobRow>(this.#pool, "accept", [
        ...[id, owner, type, isolation, spec, maxAttempts],
        ...[key?.value, key?.fingerprint, key?.ttlMs, accepted.message, bytesOf(accepted)],
      ]);
      if (row) return { job: toJob(row), replayed: false };
      const made = key && (await this.#findKey(owner, key));
      if (made) return { job: toJob(made), replayed: true };
    }
  }

  async get(id: string): Promise<Job | undefined> {
    const row = await this.#find(id);
    return row && toJob(row);
  }

  async list(query: ListQuery): Promise<Job[]> {
    const { limit, beforeId = "\u{10ffff}" } = query;
    const wanted = listCombinations(query);
    const rows = wanted
      ? await queries.rows<JobRow>(this.#pool, "listSome", [
          ...[beforeId, limit],
          ...[wanted.map(({ type }) => type), wanted.map(({ status }) => status)],
        ])
      : await queries.rows<JobRow>(this.#pool, "listAll", [beforeId, limit]);
    return rows.map(toJob);
  }

  async claim({ runnerId, strongest, max, leaseTtlMs }: ClaimInput): Promise<ClaimedJob[]> {
    const name = `claim${strength(strongest)}` as const;
    const rows = await queries.rows<JobRow>(this.#pool, name, [max, runnerId, leaseTtlMs]);
    return rows.map((row) => ({
      job: toJob(row),
      epoch: Number(row.epoch),
      nextSeq: Number(row.last_seq) + 1,
    }));
  }

  async renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]> {
    const rows = await queries.rows<Pick<JobRow, "id" | "epoch" | "cancel_requested">>(
      this.#pool,
      "renew",
      [leases.map(({ jobId }) => jobId), leases.map(({ epoch }) => epoch), leaseTtlMs],
    );
    const held = new Map(rows.map((row) => [`${row.epoch} ${row.id}`, row]));
    return leases.map(({ jobId, epoch }) => {
      const row = held.get(`${epoch} ${jobId}`);
      return { jobId, fenced: !row, cancelRequested: Boolean(row?.cancel_requested) };
    });
  }

  async append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number> {
    checkBatch(lease, events);
    const rows = events.map((event) => ({ seq: event.seq, body: eventBody(event) }));
    let fresh = rows;
    for (;;) {
      const last = fresh.at(-1)?.seq;
      if (last !== undefined && (await this.#add(lease, fresh))) return last;
      const row = await this.#find(lease.jobId);
      checkHeld(row, lease);
      fresh = newEvents(row, rows);
      if (fresh.length === 0) return Number(row.last_seq);
    }
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
    await queries.rows(this.#pool, "dropKeys");
    return await sweep(this.#rows);
  }

  async readEvents(id: string, from: number, limits: ReadLimits): Promise<JobEvent[]> {
    const { maxEvents, maxBytes } = limits;
    const values = [id, from, maxEvents, maxBytes];
    return (await queries.rows<EventRow>(this.#pool, "readEvents", values)).map(toEvent);
  }

  async stats(): Promise<QueueStats> {
    const row = await queries.row<Record<keyof QueueStats, string>>(this.#pool, "stats");
    return { queued: Number(row?.queued), running: Number(row?.running) };
  }

  onChange(listener: (jobId: string) => void): () => void {
    return this.#changes.add(listener);
  }

  async ping(): Promise<void> {
    await queries.rows(this.#pool, "ping");
  }

  async close(): Promise<void> {
    await this.#changes.close();
  }

  #find(id: string): Promise<JobRow | undefined> {
    return queries.row<JobRow>(this.#pool, "find", [id]);
  }

  async #findKey(owner: string, key: NonNullable<AcceptInput["key"]>): Promise<JobRow | undefined> {
    const made = await queries.row<{ job_id: string; fingerprint: string }>(this.#pool, "findKey", [
      owner,
      key.value,
    ]);
    if (made === undefined) return undefined;
    checkKey(key, made.fingerprint);
    return await this.#find(made.job_id);
  }

  /** False, and nothing done, unless the events continue the log of the lease. */
  async #add(
    { jobId, epoch }: LeaseRef,
    events: readonly { readonly seq: number; readonly body: EventBody }[],
  ): Promise<boolean> {
    const first = events[0]?.seq ?? 0;
    const bodies = events.map(({ body }) => body);
    const payloads = bodies.map(bytesOf);
    let end = 1;
    const starts = payloads.map(({ byteLength }) => {
      end += byteLength;
      return end - byteLength;
    });
    const rows = await queries.rows(this.#pool, "append", [
      ...[jobId, epoch, first - 1, first + events.length - 1, Buffer.concat(payloads)],
      ...[events.map(({ seq }) => seq), bodies.map(({ kind }) => kind)],
      ...[bodies.map(({ level }) => level), bodies.map(({ stream }) => stream)],
      ...[bodies.map(({ message }) => message)],
      ...[starts, payloads.map(({ byteLength }) => byteLength)],
    ]);
    return rows.length === 1;
  }

  #move(row: JobRow, to: Transition): Promise<JobRow | undefined> {
    const body = eventBody(to.event);
    return queries.row<JobRow>(this.#pool, "move", [
      ...[row.id, row.epoch, row.status, row.last_seq, row.cancel_requested],
      ...[to.status, to.epoch, to.attempt, to.cancelRequested],
      ...[body.kind === "result" ? body.payload : null, to.onlyExpired],
      ...[body.kind, body.level, body.message, bytesOf(body)],
    ]);
  }
}

function bytesOf({ payload }: EventBody): Uint8Array {
  return typeof payload === "string" ? Buffer.from(payload) : payload;
}
