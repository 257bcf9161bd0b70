/** The audit on SQLite. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { inTransaction } from "@devmesh/mesh/database";
import { chainRows } from "./audit-chain.ts";
import {
  type AuditHead,
  type AuditInput,
  type AuditRecord,
  type AuditReport,
  type AuditStore,
  headIsGone,
} from "./audit-store.ts";

const columns = "id, ts, actor, action, resource, outcome, correlation_id, detail, hash";

const auditSql = {
  head: "SELECT id, hash FROM audit_head",
  moveHead: "UPDATE audit_head SET id = ?1, hash = ?2",
  insert: `
    INSERT INTO audit (${columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)`,
  report: `
    INSERT INTO audit_reports (source, epoch, number) VALUES (?1, ?2, ?3)
    ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, number = excluded.number
    WHERE (excluded.epoch, excluded.number) > (audit_reports.epoch, audit_reports.number)`,
  list: `
    SELECT ${columns} FROM audit
    WHERE id > 0 AND id < ?1
    ORDER BY id DESC
    LIMIT ?2`,
  listFrom: `
    SELECT ${columns} FROM audit
    WHERE id > ?1
    ORDER BY id
    LIMIT ?2`,
};

/** Audit rows in a SQLite file. */
export class SqliteAuditStore implements AuditStore {
  readonly #db: DatabaseSync;
  readonly #sql: Record<keyof typeof auditSql, StatementSync>;

  /** `db` was opened with the migrations of `migrations/sqlite`; who opened it closes it. */
  constructor({ db }: { readonly db: DatabaseSync }) {
    this.#db = db;
    this.#sql = Object.fromEntries(
      Object.entries(auditSql).map(([name, text]) => [name, db.prepare(text)]),
    ) as Record<keyof typeof auditSql, StatementSync>;
  }

  async append(rows: readonly AuditInput[]): Promise<void> {
    if (rows.length === 0) return;
    inTransaction(this.#db, () => this.#add(rows));
  }

  async appendReport(
    { source, epoch, number }: AuditReport,
    rows: readonly AuditInput[],
  ): Promise<boolean> {
    return inTransaction(this.#db, () => {
      if (this.#sql.report.run(source, epoch, number).changes === 0) return false;
      this.#add(rows);
      return true;
    });
  }

  /** Within a transaction. */
  #add(rows: readonly AuditInput[]): void {
    let head = this.#head();
    if (head === undefined) throw headIsGone();
    for (const row of chainRows(head, rows)) {
      const { id, timeMs, actor, action, resource, outcome, correlationId, detail, hash } = row;
      const ts = new Date(timeMs).toISOString();
      this.#sql.insert.run(id, ts, actor, action, resource, outcome, correlationId, detail, hash);
      head = row;
    }
    this.#sql.moveHead.run(head.id, head.hash);
  }

  async head(): Promise<AuditHead | undefined> {
    return this.#head();
  }

  #head(): AuditHead | undefined {
    const row = this.#sql.head.get();
    return row && { id: Number(row.id), hash: String(row.hash) };
  }

  async list(limit: number, beforeId = Number.MAX_SAFE_INTEGER): Promise<AuditRecord[]> {
    return this.#sql.list.all(beforeId, limit).map(toRecord);
  }

  async listFrom(limit: number, afterId = Number.MIN_SAFE_INTEGER): Promise<AuditRecord[]> {
    return this.#sql.listFrom.all(afterId, limit).map(toRecord);
  }
}

function toRecord(row: Record<string, unknown>): AuditRecord {
  return {
    id: Number(row.id),
    timeMs: Date.parse(String(row.ts)),
    actor: String(row.actor),
    action: String(row.action),
    resource: String(row.resource),
    outcome: String(row.outcome),
    correlationId: String(row.correlation_id),
    detail: String(row.detail),
    hash: String(row.hash),
  };
}
