/** The ledger in SQLite. */
import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { inTransaction, loadMigrations, openSqlite } from "@devmesh/mesh/database";
import type { LedgerEntry, LedgerFilter, LedgerStore, LedgerTotal } from "./ledger-store.ts";

const migrationsFolder = fileURLToPath(new URL("../migrations/sqlite", import.meta.url));

const insert = `INSERT INTO ledger (id, at_ms, operation, request_id, principal, job_id,
    provider, model, input_tokens, output_tokens, exact, latency_ms, outcome, fallbacks)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
  ON CONFLICT (id) DO NOTHING`;

const matching = `(?1 IS NULL OR at_ms >= ?1) AND (?2 IS NULL OR at_ms < ?2)
  AND (?3 IS NULL OR principal = ?3) AND (?4 IS NULL OR job_id = ?4)
  AND (?5 IS NULL OR provider = ?5)`;

const selectPage = `SELECT * FROM ledger
  WHERE ${matching} AND (?6 IS NULL OR (at_ms, id) < (?6, ?7))
  ORDER BY at_ms DESC, id DESC LIMIT ?8`;

const selectTotals = `SELECT provider, model, count(*) AS calls,
    sum(outcome <> 'ok') AS failed_calls,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
  FROM ledger WHERE ${matching} GROUP BY provider, model ORDER BY provider, model`;

/** Keeps rows in one file. */
export class SqliteLedgerStore implements LedgerStore {
  readonly #db: DatabaseSync;

  /** Opens and migrates. `path`: a file, or `:memory:`. */
  constructor({ path }: { readonly path: string }) {
    this.#db = openSqlite({ path, migrations: loadMigrations(migrationsFolder) });
  }

  async append(entries: readonly LedgerEntry[]): Promise<void> {
    const statement = this.#db.prepare(insert);
    inTransaction(this.#db, () => {
      for (const e of entries) {
        statement.run(
          ...[e.id, e.atMs, e.operation, e.requestId, e.principal, e.jobId, e.provider, e.model],
          ...[e.inputTokens, e.outputTokens, e.exact ? 1 : 0, e.latencyMs, e.outcome, e.fallbacks],
        );
      }
    });
  }

  async list(
    filter: LedgerFilter,
    { limit, before }: { readonly limit: number; readonly before?: LedgerEntry | undefined },
  ): Promise<readonly LedgerEntry[]> {
    const rows = this.#db
      .prepare(selectPage)
      .all(...parametersOf(filter), before?.atMs ?? null, before?.id ?? null, limit);
    return rows.map(toEntry);
  }

  async totals(filter: LedgerFilter): Promise<readonly LedgerTotal[]> {
    const rows = this.#db.prepare(selectTotals).all(...parametersOf(filter));
    return rows.map((row) => ({
      provider: String(row.provider),
      model: String(row.model),
      calls: Number(row.calls),
      failedCalls: Number(row.failed_calls),
      inputTokens: Number(row.input_tokens),
      outputTokens: Number(row.output_tokens),
    }));
  }

  async close(): Promise<void> {
    this.#db.close();
  }
}

function parametersOf({ fromMs, toMs, principal, jobId, provider }: LedgerFilter) {
  return [fromMs ?? null, toMs ?? null, principal ?? null, jobId ?? null, provider ?? null];
}

function toEntry(row: Record<string, SQLOutputValue>): LedgerEntry {
  return {
    id: String(row.id),
    atMs: Number(row.at_ms),
    operation: row.operation === "embed" ? "embed" : "chat",
    requestId: String(row.request_id),
    principal: String(row.principal),
    jobId: String(row.job_id),
    provider: String(row.provider),
    model: String(row.model),
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    exact: row.exact === 1,
    latencyMs: Number(row.latency_ms),
    outcome: String(row.outcome),
    fallbacks: Number(row.fallbacks),
  };
}
