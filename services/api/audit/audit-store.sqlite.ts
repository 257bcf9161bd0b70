/** The audit on SQLite. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { inTransaction } from "@devmesh/mesh/database";
import type { AuditRecord, AuditStore } from "./audit-store.ts";

const insert = `
  INSERT INTO audit (ts, actor, action, resource, outcome, correlation_id)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6)`;

const list = `
  SELECT id, ts, actor, action, resource, outcome, correlation_id FROM audit
  WHERE id < ?1
  ORDER BY id DESC
  LIMIT ?2`;

/** Audit rows in a SQLite file. */
export class SqliteAuditStore implements AuditStore {
  readonly #db: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #list: StatementSync;

  /** `db` was opened with the migrations of `migrations/sqlite`; who opened it closes it. */
  constructor({ db }: { readonly db: DatabaseSync }) {
    this.#db = db;
    this.#insert = db.prepare(insert);
    this.#list = db.prepare(list);
  }

  async append(rows: readonly Omit<AuditRecord, "id">[]): Promise<void> {
    inTransaction(this.#db, () => {
      for (const { timeMs, actor, action, resource, outcome, correlationId } of rows) {
        const ts = new Date(timeMs).toISOString();
        this.#insert.run(ts, actor, action, resource, outcome, correlationId);
      }
    });
  }

  async list(limit: number, beforeId = Number.MAX_SAFE_INTEGER): Promise<AuditRecord[]> {
    return this.#list.all(beforeId, limit).map((row) => ({
      id: Number(row.id),
      timeMs: Date.parse(String(row.ts)),
      actor: String(row.actor),
      action: String(row.action),
      resource: String(row.resource),
      outcome: String(row.outcome),
      correlationId: String(row.correlation_id),
    }));
  }
}
