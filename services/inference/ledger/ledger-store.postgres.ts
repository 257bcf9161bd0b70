/** The ledger in Postgres. */
import { fileURLToPath } from "node:url";
import { loadMigrations, openPostgres } from "@devmesh/mesh/database";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { LedgerEntry, LedgerFilter, LedgerStore, LedgerTotal } from "./ledger-store.ts";

const migrationsFolder = fileURLToPath(new URL("../migrations/postgres", import.meta.url));

const insert = `INSERT INTO ledger (id, at_ms, operation, request_id, principal, job_id,
    provider, model, input_tokens, output_tokens, exact, latency_ms, outcome, fallbacks)
  SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::boolean[], $12::bigint[],
    $13::text[], $14::integer[])
  ON CONFLICT (id) DO NOTHING`;

const matching = `($1::bigint IS NULL OR at_ms >= $1) AND ($2::bigint IS NULL OR at_ms < $2)
  AND ($3::text IS NULL OR principal = $3) AND ($4::text IS NULL OR job_id = $4)
  AND ($5::text IS NULL OR provider = $5)`;

const selectPage = `SELECT * FROM ledger
  WHERE ${matching} AND ($6::bigint IS NULL OR (at_ms, id) < ($6, $7::text COLLATE "C"))
  ORDER BY at_ms DESC, id DESC LIMIT $8`;

const selectTotals = `SELECT provider, model, count(*) AS calls,
    count(*) FILTER (WHERE outcome <> 'ok') AS failed_calls,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
  FROM ledger WHERE ${matching} GROUP BY provider, model ORDER BY provider, model`;

type Pool = Awaited<ReturnType<typeof openPostgres>>;

/** Keeps rows in one schema. */
export class PostgresLedgerStore implements LedgerStore {
  readonly #pool: Pool;

  private constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Connects and migrates. `schema`: default `inference`. */
  static async open(options: {
    readonly url: string;
    readonly schema?: string;
  }): Promise<PostgresLedgerStore> {
    const { url, schema = "inference" } = options;
    const migrations = loadMigrations(migrationsFolder);
    return new PostgresLedgerStore(
      await openPostgres({ url, schema, migrations, maxConnections: 4 }),
    );
  }

  async append(entries: readonly LedgerEntry[]): Promise<void> {
    const column = (of: (entry: LedgerEntry) => unknown) => entries.map(of);
    await this.#query(insert, [
      column((e) => e.id),
      column((e) => e.atMs),
      column((e) => e.operation),
      column((e) => e.requestId),
      column((e) => e.principal),
      column((e) => e.jobId),
      column((e) => e.provider),
      column((e) => e.model),
      column((e) => e.inputTokens),
      column((e) => e.outputTokens),
      column((e) => e.exact),
      column((e) => e.latencyMs),
      column((e) => e.outcome),
      column((e) => e.fallbacks),
    ]);
  }

  async list(
    filter: LedgerFilter,
    { limit, before }: { readonly limit: number; readonly before?: LedgerEntry | undefined },
  ): Promise<readonly LedgerEntry[]> {
    const page = [before?.atMs ?? null, before?.id ?? null, limit];
    const rows = await this.#query(selectPage, [...parametersOf(filter), ...page]);
    return rows.map(toEntry);
  }

  async totals(filter: LedgerFilter): Promise<readonly LedgerTotal[]> {
    const rows = await this.#query(selectTotals, parametersOf(filter));
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
    await this.#pool.end();
  }

  async #query(sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    try {
      const { rows } = await this.#pool.query<Record<string, unknown>>(sql, values);
      return rows;
    } catch (cause) {
      throw new DevmeshError("UNAVAILABLE", "the ledger's Postgres cannot be used", { cause });
    }
  }
}

function parametersOf({ fromMs, toMs, principal, jobId, provider }: LedgerFilter): unknown[] {
  return [fromMs ?? null, toMs ?? null, principal ?? null, jobId ?? null, provider ?? null];
}

function toEntry(row: Record<string, unknown>): LedgerEntry {
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
    exact: row.exact === true,
    latencyMs: Number(row.latency_ms),
    outcome: String(row.outcome),
    fallbacks: Number(row.fallbacks),
  };
}
