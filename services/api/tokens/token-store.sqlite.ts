/** The token store on SQLite. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  isoTime,
  type LinkRow,
  type TokenRow,
  toGrant,
  tokenColumns,
  tokenTaken,
  tokenValues,
  toToken,
} from "./token-rows.ts";
import type { Rotation, TokenGrant, TokenRecord, TokenStore } from "./token-store.ts";

const tokenSql = {
  insert: `
    INSERT INTO tokens (${tokenColumns})
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT DO NOTHING`,
  findByHash: `
    SELECT ${tokenColumns} FROM tokens WHERE secret_hash = ?1
    UNION ALL
    SELECT ${tokenColumns} FROM tokens WHERE old_secret_hash = ?1
    LIMIT 1`,
  get: `SELECT ${tokenColumns} FROM tokens WHERE id = ?1`,
  getMany: `
    SELECT ${tokenColumns} FROM tokens WHERE id IN (SELECT value FROM json_each(?1))`,
  list: `
    SELECT ${tokenColumns} FROM tokens WHERE job_id = '' AND (?1 IS NULL OR owner = ?1)
    ORDER BY created_at DESC, id DESC`,
  revoke: `
    UPDATE tokens SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1
    RETURNING ${tokenColumns}`,
  rotate: `
    UPDATE tokens
    SET secret_hash = ?2, old_secret_hash = secret_hash, old_secret_expires_at = ?3
    WHERE id = ?1 AND job_id = '' AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > ?4)
    RETURNING ${tokenColumns}`,
  isTaken: "SELECT 1 FROM tokens WHERE secret_hash = ?1",
  grant: "UPDATE tokens SET owner = ?2, scopes = ?3 WHERE id = ?1",
  deleteOfJob: "DELETE FROM tokens WHERE job_id = ?1 AND job_id <> ''",
  insertLink: `
    INSERT INTO console_links (secret_hash, expires_at, owner, scopes) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (secret_hash) DO NOTHING`,
  useLink: `
    DELETE FROM console_links WHERE secret_hash = ?1 AND expires_at > ?2
    RETURNING owner, scopes`,
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

  async getMany(ids: readonly string[]): Promise<TokenRecord[]> {
    const rows = this.#sql.getMany.all(JSON.stringify(ids));
    return (rows as unknown as TokenRow[]).map(toToken);
  }

  async list(owner?: string): Promise<TokenRecord[]> {
    return (this.#sql.list.all(owner ?? null) as unknown as TokenRow[]).map(toToken);
  }

  async revoke(id: string, atMs: number): Promise<TokenRecord | undefined> {
    return toRecord(this.#sql.revoke.get(id, isoTime(atMs)));
  }

  async rotate(id: string, rotation: Rotation): Promise<TokenRecord | undefined> {
    const { secretHash, oldSecretEndsAtMs, atMs } = rotation;
    const times = [isoTime(oldSecretEndsAtMs), isoTime(atMs)];
    if (this.#sql.isTaken.get(secretHash) !== undefined) throw tokenTaken(id);
    return toRecord(this.#sql.rotate.get(id, secretHash, ...times));
  }

  async grant(id: string, { owner, scopes }: TokenGrant): Promise<void> {
    this.#sql.grant.run(id, owner, JSON.stringify(scopes));
  }

  async deleteOfJob(jobId: string): Promise<void> {
    this.#sql.deleteOfJob.run(jobId);
  }

  async insertLink(secretHash: string, expiresAtMs: number, grant: TokenGrant): Promise<void> {
    const { owner, scopes } = grant;
    this.#sql.insertLink.run(secretHash, isoTime(expiresAtMs), owner, JSON.stringify(scopes));
  }

  async useLink(secretHash: string, nowMs: number): Promise<TokenGrant | undefined> {
    const row = this.#sql.useLink.get(secretHash, isoTime(nowMs));
    this.#sql.dropLinks.run(isoTime(nowMs));
    return row === undefined ? undefined : toGrant(row as unknown as LinkRow);
  }
}

function toRecord(row: unknown): TokenRecord | undefined {
  return row === undefined ? undefined : toToken(row as TokenRow);
}
