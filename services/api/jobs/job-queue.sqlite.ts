/**
 * Which job is next on SQLite: heads, delays, concurrency keys, pause. Accepting
 * and moving jobs is left to `job-store.sqlite.ts`.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { setImmediate as nextTurn } from "node:timers/promises";
import { inTransaction } from "@devmesh/mesh/database";
import { type Labels, labelList, rivals } from "./job-placement.ts";
import { type JobRow, toJob } from "./job-rows.ts";
import type { jobSql } from "./job-sql.sqlite.ts";
import type { QueueFacts, QueueState } from "./job-store.ts";

/** The prepared statements of the store. */
export type Statements = Record<keyof typeof jobSql, StatementSync>;

/** The concurrency key of a job. */
type KeyOfJob = Pick<JobRow, "owner" | "concurrency_key">;

/** Jobs that are alike to runners. */
interface QueueOfJobs {
  readonly isolation: number;
  readonly placement: string;
}

/** The first job of a queue. */
interface Head {
  readonly priority: number;
  readonly id: string;
}

/** The queue's side of a store. */
export class SqliteJobQueue {
  readonly #db: DatabaseSync;
  readonly #sql: Statements;

  constructor(db: DatabaseSync, sql: Statements) {
    this.#db = db;
    this.#sql = sql;
  }

  /**
   * Within a transaction: the next jobs up to an isolation that a runner with
   * these labels may take, the best first. Each must be taken before the next
   * is asked for.
   */
  *next(strongest: number, labels: Labels): Generator<string, undefined> {
    const queues = ["", ...this.#placements(labels)].flatMap((placement) =>
      Array.from({ length: strongest }, (_, i) => ({ isolation: i + 1, placement })),
    );
    const heads = queues.map((queue) => ({ queue, head: this.#head(queue) }));
    for (;;) {
      const best = heads.reduce((a, b) => (isBefore(b.head, a.head) ? b : a));
      if (best.head === undefined) return undefined;
      yield best.head.id;
      best.head = this.#head(best.queue);
    }
  }

  #head({ isolation, placement }: QueueOfJobs): Head | undefined {
    return this.#sql.head.get(isolation, placement) as Head | undefined;
  }

  /** Which of the sets of labels that jobs ask for, but for none, a runner has. */
  #placements(labels: Labels): string[] {
    const own = labelList(labels);
    if (own.length === 0) return [];
    return this.#sql.placements.all(JSON.stringify(own)).map(({ place }) => String(place));
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

  /** How many jobs of the same labels, or of none, come before one, counted up to 1,000. */
  #ahead({ priority, id, placement }: JobRow): number {
    const counts = rivals(placement).flatMap((rival) =>
      [1, 2, 3, 4].map((isolation) =>
        Number(this.#sql.ahead.get(isolation, priority, id, rival)?.ahead),
      ),
    );
    return Math.min(
      1_000,
      counts.reduce((sum, count) => sum + count),
    );
  }

  /** Ids of jobs that have a slot of a concurrency key, up to 10. */
  #holders({ owner, concurrency_key }: KeyOfJob): string[] {
    return this.#sql.holders.all(owner, concurrency_key).map(({ id }) => String(id));
  }

  /** What keeps the job of a row waiting. */
  explain(row: JobRow): QueueFacts {
    const { hold, status } = row;
    const pauseDetail = this.pauseDetail();
    return {
      job: toJob(row),
      hold,
      paused: pauseDetail !== undefined,
      pauseDetail: pauseDetail ?? "",
      ahead: status === "queued" && hold === "" ? this.#ahead(row) : 0,
      holders: hold === "key" ? this.#holders(row) : [],
    };
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

/** True if a job is taken before another; none comes last. */
function isBefore(a: Head | undefined, b: Head | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  return a.priority > b.priority || (a.priority === b.priority && a.id < b.id);
}
