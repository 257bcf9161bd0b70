/**
 * Which job is next on Postgres: labels, delays, concurrency keys, pause.
 * Accepting and moving jobs is left to `job-store.postgres.ts`.
 */
import { withTransaction } from "@devmesh/mesh/database";
import type { Pool } from "pg";
import { isLost, type PostgresQueries } from "../postgres-query.ts";
import { labelList, rivals } from "./job-placement.ts";
import { type JobRow, toJob } from "./job-rows.ts";
import { strength } from "./job-rules.ts";
import type { jobSql } from "./job-sql.postgres.ts";
import type { ClaimInput, QueueFacts, QueueState } from "./job-store.ts";

/** The concurrency key of a job. */
export type KeyOfJob = Pick<JobRow, "owner" | "concurrency_key">;

/** What the queue's side of a store works with. */
export interface PostgresJobQueueOptions {
  readonly pool: Pool;
  readonly queries: PostgresQueries<keyof typeof jobSql>;
  /** Tells watchers of jobs that have changed. */
  readonly tell: (jobIds: readonly string[]) => void;
}

/** The queue's side of a store. */
export class PostgresJobQueue {
  readonly #pool: Pool;
  readonly #queries: PostgresJobQueueOptions["queries"];
  readonly #tell: PostgresJobQueueOptions["tell"];

  constructor({ pool, queries, tell }: PostgresJobQueueOptions) {
    this.#pool = pool;
    this.#queries = queries;
    this.#tell = tell;
  }

  /** See JobStore.claim: the rows that were taken. */
  async claim(input: ClaimInput): Promise<JobRow[]> {
    const rows = await this.#take(input);
    return rows.length === 0 && (await this.promote()) ? await this.#take(input) : rows;
  }

  /** Lets jobs on whose delay is over; true if there was one. */
  async promote(): Promise<boolean> {
    const rows = await this.#queries.rows<KeyOfJob>(this.#pool, "promote");
    const keys = new Map(
      rows.map((row) => [JSON.stringify([row.owner, row.concurrency_key]), row]),
    );
    for (const key of keys.values()) await this.fill(key);
    return rows.length > 0;
  }

  /**
   * Gives free slots of a concurrency key to those that wait. The lock is held
   * before the statement that counts begins: two fills never see the same slot.
   */
  async fill({ owner, concurrency_key: key }: KeyOfJob): Promise<void> {
    if (key === "") return;
    try {
      const filled = await withTransaction(this.#pool, async (client) => {
        await this.#queries.rows(client, "lockKey", [owner, key]);
        return await this.#queries.rows<Pick<JobRow, "id">>(client, "fill", [owner, key]);
      });
      this.#tell(filled.map(({ id }) => id));
    } catch (error) {
      // What led here is committed and stands; the next sweep fills the key.
      if (!isLost(error)) throw error;
    }
  }

  /** Whether the queue is paused, and why. */
  async paused(): Promise<Pick<QueueState, "paused" | "pauseDetail" | "pausedAt">> {
    type Row = { paused_at: Date | null; pause_detail: string };
    const row = await this.#queries.row<Row>(this.#pool, "readQueue");
    const pausedAt = row?.paused_at ?? undefined;
    return { paused: pausedAt !== undefined, pauseDetail: row?.pause_detail ?? "", pausedAt };
  }

  /** What keeps the job of a row waiting. */
  async explain(row: JobRow): Promise<QueueFacts> {
    const { id, hold, status, owner, concurrency_key, priority, placement } = row;
    const { paused, pauseDetail } = await this.paused();
    const holders =
      hold === "key"
        ? await this.#queries.rows<{ id: string }>(this.#pool, "holders", [owner, concurrency_key])
        : [];
    const values = [priority, id, rivals(placement)];
    const before =
      status === "queued" && hold === ""
        ? await this.#queries.row<{ ahead: string }>(this.#pool, "ahead", values)
        : undefined;
    return {
      ...{ job: toJob(row), hold, paused, pauseDetail },
      ahead: Number(before?.ahead ?? 0),
      holders: holders.map((holder) => holder.id),
    };
  }

  async #take(input: ClaimInput): Promise<JobRow[]> {
    const { runnerId, strongest, max, leaseTtlMs, labels = {}, holder = "" } = input;
    const values = [max, runnerId, leaseTtlMs, holder];
    const level = strength(strongest);
    const own = labelList(labels);
    const found =
      own.length === 0
        ? []
        : await this.#queries.rows<{ place: string }>(this.#pool, "placements", [own]);
    if (found.length === 0) return await this.#queries.rows(this.#pool, `claim${level}`, values);
    const places = ["", ...found.map(({ place }) => place)];
    return await this.#queries.rows(this.#pool, `claimPlaced${level}`, [...values, places]);
  }
}
