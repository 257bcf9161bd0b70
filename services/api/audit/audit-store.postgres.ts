/** The audit on Postgres: one chain, however many replicas write. */
import { withTransaction } from "@devmesh/mesh/database";
import type { Pool, PoolClient } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
import { chainRows } from "./audit-chain.ts";
import {
  type AuditHead,
  type AuditInput,
  type AuditRecord,
  type AuditReport,
  type AuditStore,
  headIsGone,
} from "./audit-store.ts";

interface AuditRow {
  readonly id: string;
  /** Milliseconds since the Unix epoch, with what Postgres knows beyond them. */
  readonly time_ms: string;
  readonly actor: string;
  readonly action: string;
  readonly resource: string;
  readonly outcome: string;
  readonly correlation_id: string;
  readonly detail: string;
  readonly hash: string;
}

interface HeadRow {
  readonly id: string;
  readonly hash: string;
}

const columns = `
  id, extract(epoch FROM ts) * 1000 AS time_ms, actor, action, resource, outcome,
  correlation_id, detail, hash`;

const queries = new PostgresQueries("audit", {
  head: "SELECT id, hash FROM audit_head",
  /** Held until the transaction ends: one writer at a time, whichever replica it is of. */
  lockHead: "SELECT id, hash FROM audit_head FOR UPDATE",
  /** The column's own sequence goes along: what a backup says of it is so in every dialect. */
  moveHead: `
    WITH moved AS (UPDATE audit_head SET id = $1, hash = $2 RETURNING id)
    SELECT setval(pg_get_serial_sequence('audit', 'id'), id) FROM moved`,
  append: `
    INSERT INTO audit (id, ts, actor, action, resource, outcome, correlation_id, detail, hash)
    OVERRIDING SYSTEM VALUE
    SELECT * FROM unnest(
      $1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[],
      $7::text[], $8::text[], $9::text[]
    )`,
  report: `
    INSERT INTO audit_reports (source, epoch, number) VALUES ($1, $2, $3)
    ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, number = excluded.number
    WHERE (excluded.epoch, excluded.number) > (audit_reports.epoch, audit_reports.number)
    RETURNING source`,
  list: `
    SELECT ${columns} FROM audit
    WHERE id > 0 AND id < $1
    ORDER BY id DESC
    LIMIT $2`,
  listFrom: `
    SELECT ${columns} FROM audit
    WHERE id > $1
    ORDER BY id
    LIMIT $2`,
});

/** Audit rows in a Postgres schema. */
export class PostgresAuditStore implements AuditStore {
  readonly #pool: Pool;

  /** `pool` was opened with the migrations of `migrations/postgres`; who opened it closes it. */
  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  async append(rows: readonly AuditInput[]): Promise<void> {
    if (rows.length === 0) return;
    await withTransaction(this.#pool, (client) => this.#add(client, rows));
  }

  async appendReport(
    { source, epoch, number }: AuditReport,
    rows: readonly AuditInput[],
  ): Promise<boolean> {
    return withTransaction(this.#pool, async (client) => {
      const taken = await queries.rows(client, "report", [source, epoch, number]);
      if (taken.length === 0) return false;
      if (rows.length > 0) await this.#add(client, rows);
      return true;
    });
  }

  async #add(client: PoolClient, rows: readonly AuditInput[]): Promise<void> {
    const head = headOf(await queries.rows<HeadRow>(client, "lockHead"));
    if (head === undefined) throw headIsGone();
    const chained = chainRows(head, rows);
    const last = chained.at(-1) ?? head;
    await queries.rows(client, "append", [
      chained.map(({ id }) => id),
      chained.map(({ timeMs }) => new Date(timeMs).toISOString()),
      chained.map(({ actor }) => actor),
      chained.map(({ action }) => action),
      chained.map(({ resource }) => resource),
      chained.map(({ outcome }) => outcome),
      chained.map(({ correlationId }) => correlationId),
      chained.map(({ detail }) => detail),
      chained.map(({ hash }) => hash),
    ]);
    await queries.rows(client, "moveHead", [last.id, last.hash]);
  }

  async head(): Promise<AuditHead | undefined> {
    return headOf(await queries.rows<HeadRow>(this.#pool, "head"));
  }

  async list(limit: number, beforeId = Number.MAX_SAFE_INTEGER): Promise<AuditRecord[]> {
    return (await queries.rows<AuditRow>(this.#pool, "list", [beforeId, limit])).map(toRecord);
  }

  async listFrom(limit: number, afterId = Number.MIN_SAFE_INTEGER): Promise<AuditRecord[]> {
    return (await queries.rows<AuditRow>(this.#pool, "listFrom", [afterId, limit])).map(toRecord);
  }
}

function headOf([row]: readonly HeadRow[]): AuditHead | undefined {
  return row && { id: Number(row.id), hash: row.hash };
}

function toRecord({ id, time_ms, correlation_id, ...same }: AuditRow): AuditRecord {
  return { ...same, id: Number(id), timeMs: Number(time_ms), correlationId: correlation_id };
}
