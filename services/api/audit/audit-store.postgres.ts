/** The audit on Postgres. */
import type { Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
import type { AuditRecord, AuditStore } from "./audit-store.ts";

interface AuditRow {
  readonly id: string;
  readonly ts: Date;
  readonly actor: string;
  readonly action: string;
  readonly resource: string;
  readonly outcome: string;
  readonly correlation_id: string;
}

const queries = new PostgresQueries("audit", {
  append: `
    INSERT INTO audit (ts, actor, action, resource, outcome, correlation_id)
    SELECT ts, actor, action, resource, outcome, correlation_id
    FROM unnest(
      $1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]
    ) WITH ORDINALITY AS row (ts, actor, action, resource, outcome, correlation_id, place)
    ORDER BY place`,
  list: `
    SELECT id, ts, actor, action, resource, outcome, correlation_id FROM audit
    WHERE id < $1
    ORDER BY id DESC
    LIMIT $2`,
});

/** Audit rows in a Postgres schema. */
export class PostgresAuditStore implements AuditStore {
  readonly #pool: Pool;

  /** `pool` was opened with the migrations of `migrations/postgres`; who opened it closes it. */
  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  async append(rows: readonly Omit<AuditRecord, "id">[]): Promise<void> {
    await queries.rows(this.#pool, "append", [
      rows.map(({ timeMs }) => new Date(timeMs).toISOString()),
      rows.map(({ actor }) => actor),
      rows.map(({ action }) => action),
      rows.map(({ resource }) => resource),
      rows.map(({ outcome }) => outcome),
      rows.map(({ correlationId }) => correlationId),
    ]);
  }

  async list(limit: number, beforeId = Number.MAX_SAFE_INTEGER): Promise<AuditRecord[]> {
    const rows = await queries.rows<AuditRow>(this.#pool, "list", [beforeId, limit]);
    return rows.map(({ id, ts, correlation_id, ...same }) => ({
      ...same,
      id: Number(id),
      timeMs: ts.getTime(),
      correlationId: correlation_id,
    }));
  }
}
