/** The token store on SQLite. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  isoTime,
  type TokenRow,
  tokenColumns,
  tokenTaken,
  tokenValues,
  toToken,
} from "./token-rows.ts";
import type { TokenRecord, TokenStore } from "./token-store.ts";

const tokenSql = {
  insert: `
    INSERT INTO tokens (${tokenColumns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT DO NOTHING`,
  findByHash: `SELECT ${tokenColumns} FROM tokens WHERE secret_hash = ?1`,
  get: `SELECT ${tokenColumns} FROM tokens WHERE id = ?1`,
  list: `
    SELECT ${tokenColumns} FROM tokens WHERE job_id = ''
    ORDER BY created_at DESC, id DESC`,
  revoke: `
    UPDATE tokens SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1
    RETURNING ${tokenColumns}`,
  deleteOfJob: "DELETE FROM tokens WHERE job_id = ?1 AND job_id <> ''",
  insertLink: `
    INSERT INTO console_links (secret_hash, expires_at) VALUES (?1, ?2)
    ON CONFLICT (secret_hash) DO UPDATE SET expires_at = excluded.expires_at`,
  useLink: "DELETE FROM console_links WHERE secret_hash = ?1 AND expires_at > ?2",
  dropLinks: "DELETE FROM console_links WHERE expires_at <= ?1",
};

/** Tokens and console links in a SQLite file. */
export class SqliteTokenStore implements TokenStore {
  readonly #sql: Record<keyof typeof tokenSql, StatementSync>;

  /** `db` was opened with the migrations of `migrations/sqlite`; who opened it closes it. */
  constructor({ db }: { readonly db: DatabaseSync }) {
    this.#sql = Object.fromEntries(
      Object.entries(tokenSql).map(([name, text]) => [name, db.prepare(text)]),
    ) as Record<keyof typeof tokenSql, StatementSync>;
  }

  async insert(token: TokenRecord): Promise<void> {
    const { changes } = this.#sql.insert.run(...tokenValues(token));
    if (changes === 0) throw tokenTaken(token.id);
  }

  async findByHash(secretHash: string): Promise<TokenRecord | undefined> {
    return toRecord(this.#sql.findByHash.get(secretHash));
  }

  async get(id: string): Promise<TokenRecord | undefined> {
    return toRecord(this.#sql.get.get(id));
  }

  async list(): Promise<TokenRecord[]> {
    return (this.#sql.list.all() as unknown as TokenRow[]).map(toToken);
  }

  async revoke(id: string, atMs: number): Promise<TokenRecord | undefined> {
    return toRecord(this.#sql.revoke.get(id, isoTime(atMs)));
  }

  async deleteOfJob(jobId: string): Promise<void> {
    this.#sql.deleteOfJob.run(jobId);
  }

  async insertLink(secretHash: string, expiresAtMs: number): Promise<void> {
    this.#sql.insertLink.run(secretHash, isoTime(expiresAtMs));
  }

  async useLink(secretHash: string, nowMs: number): Promise<boolean> {
    const { changes } = this.#sql.useLink.run(secretHash, isoTime(nowMs));
    this.#sql.dropLinks.run(isoTime(nowMs));
    return changes === 1;
  }
}

function toRecord(row: unknown): TokenRecord | undefined {
  return row === undefined ? undefined : toToken(row as TokenRow);
}
