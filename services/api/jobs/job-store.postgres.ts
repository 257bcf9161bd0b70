/**
 * The job store on Postgres, for many backends at once. Every change is one
 * statement, and so one transaction; the server's clock is the clock.
 * Long because it is all of the port in one place; rules and SQL are elsewhere.
 */
import type { AgentAnswer } from "@devmesh/gen/devmesh/api/v1/agent_work_pb";
import type { JobEvent } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import type { FencedWrite, Job } from "@devmesh/gen/devmesh/api/v1/job_pb";
import type { JobResult } from "@devmesh/gen/devmesh/api/v1/job_result_pb";
import type { Random } from "@devmesh/mesh/runtime";
import type { Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
import { answerQuestion, toAnswer } from "./job-answers.ts";
import { requestCancel } from "./job-cancels.ts";
import { PostgresJobChanges } from "./job-changes.postgres.ts";
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
import { type KeyOfJob, PostgresJobQueue } from "./job-queue.postgres.ts";
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
  toClaimed,
  trimDetail,
  trimmed,
} from "./job-rules.ts";
import { jobSql } from "./job-sql.postgres.ts";
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
export interface PostgresJobStoreOptions {
  /** Opened with the migrations of `migrations/postgres`; closed by who opened it. */
  readonly pool: Pool;
  /** Where the pool connects to; one more connection listens for changes. */
  readonly url: string;
  readonly random: Random;
}

const queries = new PostgresQueries("jobs", jobSql);

/** Jobs in a Postgres schema. */
export class PostgresJobStore implements JobStore {
  readonly #pool: Pool;
  readonly #changes: PostgresJobChanges;
  readonly #queue: PostgresJobQueue;
  readonly #rows: EndingRows;
  readonly #noteFence: (lease: LeaseRef, action: FencedAction) => Promise<void>;

  constructor({ pool, url, random }: PostgresJobStoreOptions) {
    this.#pool = pool;
    this.#changes = new PostgresJobChanges({
      url,
      send: async (payloads) => {
        await queries.rows(pool, "tell", [payloads]);
      },
    });
    this.#queue = new PostgresJobQueue({ pool, queries, tell: (ids) => this.#changes.tell(ids) });
    this.#rows = {
      random,
      now: async () => (await queries.row<{ now: Date }>(pool, "now"))?.now ?? new Date(),
      find: (id) => this.#find(id),
      expired: () => queries.rows<JobRow>(pool, "expired"),
      queueExpired: () => queries.rows<JobRow>(pool, "queueExpired"),
      readEvents: (id, from, limits) => this.readEvents(id, from, limits),
      move: (row, to) => this.#move(row, to),
      markCancel: (row, input) => this.#markCancel(row, input),
    };
    this.#noteFence = async ({ jobId, epoch }, action) => {
      await queries.rows(pool, "noteFence", [jobId, epoch, action]);
    };
  }

  async accept(input: AcceptInput): Promise<{ job: Job; replayed: boolean }> {
    const { id, owner, key, maxAttempts } = input;
    const columns = specColumns(input.spec);
    const { type, isolation, spec, priority, hold, delayMs, queueTimeoutMs } = columns;
    for (;;) {
      const row = await queries.row<JobRow>(this.#pool, "accept", [
        ...[id, owner, type, isolation, spec, maxAttempts],
        ...[key?.value, key?.fingerprint, key?.ttlMs, accepted.message, bytesOf(accepted)],
        ...[priority, hold, delayMs, queueTimeoutMs],
        ...[columns.concurrency_key, columns.concurrency_limit, columns.placement],
      ]);
      if (row) {
        this.#changes.tell([row.id]);
        await this.#queue.fill(row);
        return { job: toJob(row), replayed: false };
      }
      const made = key && (await this.#findKey(owner, key));
      if (made) return { job: toJob(made), replayed: true };
    }
  }

  async findByKey(owner: string, key: KeyInput): Promise<Job | undefined> {
    const row = await this.#findKey(owner, key);
    return row && toJob(row);
  }

  async get(id: string): Promise<Job | undefined> {
    const row = await this.#find(id);
    return row && toJob(row);
  }

  async list(query: ListQuery): Promise<Job[]> {
    const { limit, beforeId = "\u{10ffff}", owner } = query;
    const wanted = listCombinations(query);
    const page = [beforeId, limit];
    const pairs = [wanted?.map(({ type }) => type), wanted?.map(({ status }) => status)];
    const rows = !wanted
      ? await queries.rows<JobRow>(this.#pool, "listAll", page)
      : owner === undefined
        ? await queries.rows<JobRow>(this.#pool, "listSome", [...page, ...pairs])
        : await queries.rows<JobRow>(this.#pool, "listOwned", [...page, ...pairs, owner]);
    return rows.map(toJob);
  }

  async claim(input: ClaimInput): Promise<ClaimedJob[]> {
    const rows = await this.#queue.claim(input);
    this.#changes.tell(rows.map(({ id }) => id));
    return rows.map(toClaimed);
  }

  async leaseHolder({ jobId, epoch }: LeaseRef): Promise<string | undefined> {
    const row = await queries.row<HolderRow>(this.#pool, "leaseHolder", [jobId]);
    return row && holderOf(row, epoch);
  }

  async renew(leases: readonly LeaseRef[], leaseTtlMs: number): Promise<LeaseState[]> {
    const rows = await queries.rows<Pick<JobRow, "id" | "epoch" | "cancel_requested" | "answer">>(
      this.#pool,
      "renew",
      [leases.map(({ jobId }) => jobId), leases.map(({ epoch }) => epoch), leaseTtlMs],
    );
    const held = new Map(rows.map((row) => [`${row.epoch} ${row.id}`, row]));
    const states: LeaseState[] = [];
    for (const lease of leases) {
      const row = held.get(`${lease.epoch} ${lease.jobId}`);
      if (!row) await this.#noteFence(lease, "renew");
      const cancelRequested = Boolean(row?.cancel_requested);
      const answer = toAnswer(row?.answer ?? "");
      states.push({ jobId: lease.jobId, fenced: !row, cancelRequested, ...(answer && { answer }) });
    }
    return states;
  }

  append(lease: LeaseRef, events: readonly JobEvent[]): Promise<number> {
    return noteFenced(this.#noteFence, lease, "append", async () => {
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
    await queries.rows(this.#pool, "dropKeys");
    const swept = await sweep(this.#rows);
    await this.#queue.promote();
    for (const key of await queries.rows<KeyOfJob>(this.#pool, "fillable"))
      await this.#queue.fill(key);
    return swept;
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

  async fencedWrites(id: string): Promise<FencedWrite[]> {
    return (await queries.rows<FenceRow>(this.#pool, "fences", [id])).map(toFencedWrite);
  }

  async trim({ endedBeforeMs, limit }: TrimInput): Promise<string[]> {
    const values = [endedBeforeMs, limit];
    type Ended = Pick<JobRow, "id" | "last_seq">;
    const found = await queries.rows<Ended>(this.#pool, "trimmable", values);
    const { message } = trimmed(0, endedBeforeMs);
    const ids: string[] = [];
    for (const { id, last_seq } of found) {
      const gone = [id, Number(last_seq) - 1, trimDetail(endedBeforeMs), message];
      // Another backend may have been quicker.
      if ((await queries.rows(this.#pool, "trim", gone)).length > 0) ids.push(id);
    }
    this.#changes.tell(ids);
    return ids;
  }

  async queue(): Promise<QueueState> {
    const [stats, paused] = await Promise.all([this.stats(), this.#queue.paused()]);
    return { ...stats, ...paused };
  }

  async pause(detail: string): Promise<void> {
    await queries.rows(this.#pool, "pause", [detail]);
  }

  async resume(): Promise<void> {
    await queries.rows(this.#pool, "resume");
  }

  async explain(id: string): Promise<QueueFacts | undefined> {
    const row = await this.#find(id);
    return row && (await this.#queue.explain(row));
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

  async #findKey(owner: string, key: KeyInput): Promise<JobRow | undefined> {
    const made = await queries.row<{ job_id: string; fingerprint: string }>(this.#pool, "findKey", [
      owner,
      key.value,
    ]);
    if (made === undefined) return undefined;
    checkKey(key, made.fingerprint, made.job_id);
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
    if (rows.length === 0) return false;
    this.#changes.tell([jobId]);
    return true;
  }

  async #move(row: JobRow, to: Transition): Promise<JobRow | undefined> {
    const body = eventBody(to.event);
    const { cancel } = to;
    const moved = await queries.row<JobRow>(this.#pool, "move", [
      ...[row.id, row.epoch, row.status, row.last_seq, row.cancel_requested],
      ...[to.status, to.epoch, to.attempt, to.hold],
      ...[to.hold === "delay" ? to.delayMs : null, to.retriedEpoch],
      ...[body.kind === "result" ? body.payload : null, cancel?.by, to.onlyExpired],
      ...[cancel?.detail, cancel?.at, body.kind, body.level, body.message, bytesOf(body)],
    ]);
    if (moved === undefined) return undefined;
    this.#changes.tell([row.id]);
    await this.#queue.fill(moved);
    return moved;
  }

  readonly #markAnswer = async (id: string, questionSeq: number, answer: string) => {
    const values = [id, questionSeq, answer];
    const marked = await queries.row<JobRow>(this.#pool, "markAnswer", values);
    if (marked) this.#changes.tell([id]);
    return marked;
  };

  async #markCancel({ id, epoch }: JobRow, { by, detail }: CancelInput) {
    const values = [id, epoch, by, detail];
    const marked = await queries.row<JobRow>(this.#pool, "markCancel", values);
    if (marked) this.#changes.tell([id]);
    return marked;
  }
}

function bytesOf({ payload }: EventBody): Uint8Array {
  return typeof payload === "string" ? Buffer.from(payload) : payload;
}
