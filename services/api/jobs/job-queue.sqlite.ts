/**
 * Which job is next on SQLite: heads, delays, concurrency keys, pause. Accepting
 * and moving jobs is left to `job-store.sqlite.ts`.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { setImmediate as nextTurn } from "node:timers/promises";
import { inTransaction } from "@devmesh/mesh/database";
import type { JobRow } from "./job-rows.ts";
import type { jobSql } from "./job-sql.sqlite.ts";
import type { QueueState } from "./job-store.ts";

/** The prepared statements of the store. */
export type Statements = Record<keyof typeof jobSql, StatementSync>;

/** The concurrency key of a job. */
type KeyOfJob = Pick<JobRow, "owner" | "concurrency_key">;

/** The queue's side of a store. */
export class SqliteJobQueue {
  readonly #db: DatabaseSync;
  readonly #sql: Statements;

  constructor(db: DatabaseSync, sql: Statements) {
    this.#db = db;
    this.#sql = sql;
  }

  /** The next job up to an isolation: the first of the heads of their queues. */
  head(strongest: number): string | undefined {
    let best: { priority: number; id: string } | undefined;
    for (let isolation = 1; isolation <= strongest; isolation++) {
      const head = this.#sql.head.get(isolation) as typeof best;
      if (head === undefined) continue;
      const { priority, id } = head;
      const first = best === undefined || priority > best.priority;
      if (first || (priority === best?.priority && id < best.id)) best = head;
    }
    return best?.id;
  }

  /** Within a transaction: lets jobs on whose delay is over. */
  promote(now: string): void {
    for (const row of this.#sql.promote.all(now)) this.fill(row as unknown as JobRow);
  }

  /**
   * Within a transaction: gives free slots of a job's concurrency key to those
   * that wait, in order, until one sees none free.
   */
  fill({ owner, concurrency_key: key }: KeyOfJob): void {
    if (key === "") return;
    const waiting = this.#sql.waiting.all(owner, key);
    if (waiting.length === 0) return;
    let taken = Number(this.#sql.taken.get(owner, key)?.taken);
    for (const { id, concurrency_limit } of waiting) {
      if (taken >= Number(concurrency_limit)) return;
      this.#sql.giveSlot.run(String(id));
      taken += 1;
    }
  }

  /** Fills every key that jobs wait for, in transactions of its own. */
  async fillAll(): Promise<void> {
    let after: KeyOfJob | undefined = { owner: "", concurrency_key: "" };
    while (after) {
      const from: KeyOfJob = after;
      after = inTransaction(this.#db, () => this.#fillSome(from));
      // Many keys do not keep other work waiting.
      await nextTurn();
    }
  }

  /** Fills the next keys that jobs wait for; answers the last, or undefined at the end. */
  #fillSome(after: KeyOfJob): KeyOfJob | undefined {
    let last = after;
    for (let count = 0; count < 100; count++) {
      const next = this.#sql.nextKey.get(last.owner, last.concurrency_key);
      if (next === undefined) return undefined;
      last = next as unknown as KeyOfJob;
      this.fill(last);
    }
    return last;
  }

  /** How many jobs would be taken before one, counted up to 1,000. */
  ahead({ priority, id }: JobRow): number {
    const counts = [1, 2, 3, 4].map((isolation) =>
      Number(this.#sql.ahead.get(isolation, priority, id)?.ahead),
    );
    return Math.min(
      1_000,
      counts.reduce((sum, count) => sum + count),
    );
  }

  /** Ids of jobs that have a slot of a concurrency key, up to 10. */
  holders({ owner, concurrency_key }: KeyOfJob): string[] {
    return this.#sql.holders.all(owner, concurrency_key).map(({ id }) => String(id));
  }

  /** The counts, and whether the queue is paused. */
  state(): QueueState {
    const { paused_at, pause_detail } = this.#sql.readQueue.get() ?? {};
    return {
      queued: Number(this.#sql.countQueued.get()?.count),
      running: Number(this.#sql.countRunning.get()?.count),
      paused: typeof paused_at === "string",
      pauseDetail: String(pause_detail ?? ""),
      pausedAt: typeof paused_at === "string" ? new Date(paused_at) : undefined,
    };
  }

  /** Why the queue is paused; undefined if it is not. */
  pauseDetail(): string | undefined {
    const { paused_at, pause_detail } = this.#sql.readQueue.get() ?? {};
    return typeof paused_at === "string" ? String(pause_detail) : undefined;
  }
}
