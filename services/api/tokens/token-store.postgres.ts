/** The token store on Postgres. */
import { DatabaseError, type Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
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

const queries = new PostgresQueries("tokens", {
  insert: `
    INSERT INTO tokens (${tokenColumns})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT DO NOTHING
    RETURNING id`,
  findByHash: `
    SELECT ${tokenColumns} FROM tokens WHERE secret_hash = $1
    UNION ALL
    SELECT ${tokenColumns} FROM tokens WHERE old_secret_hash = $1
    LIMIT 1`,
  get: `SELECT ${tokenColumns} FROM tokens WHERE id = $1`,
  getMany: `SELECT ${tokenColumns} FROM tokens WHERE id = ANY($1::text[])`,
  list: `
    SELECT ${tokenColumns} FROM tokens WHERE job_id = '' AND ($1::text IS NULL OR owner = $1)
    ORDER BY created_at DESC, id DESC`,
  revoke: `
    UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
    RETURNING ${tokenColumns}`,
  rotate: `
    UPDATE tokens SET secret_hash = $2, old_secret_hash = secret_hash, old_secret_expires_at = $3
    WHERE id = $1 AND job_id = '' AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > $4)
    RETURNING ${tokenColumns}`,
  grant: "UPDATE tokens SET owner = $2, scopes = $3 WHERE id = $1",
  deleteOfJob: "DELETE FROM tokens WHERE job_id = $1 AND job_id <> ''",
  insertLink: `
    INSERT INTO console_links (secret_hash, expires_at, owner, scopes) VALUES ($1, $2, $3, $4)
    ON CONFLICT (secret_hash) DO NOTHING`,
  useLink: `
    DELETE FROM console_links WHERE secret_hash = $1 AND expires_at > $2
    RETURNING owner, scopes`,
  dropLinks: "DELETE FROM console_links WHERE expires_at <= $1",
});

/** SQLSTATE. */
const uniqueViolation = "23505";

/** Tokens and console links in a Postgres schema. */
export class PostgresTokenStore implements TokenStore {
  readonly #pool: Pool;

  /** `pool` was opened with the migrations of `migrations/postgres`; who opened it closes it. */
  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  async insert(token: TokenRecord): Promise<void> {
    const row = await queries.row(this.#pool, "insert", tokenValues(token));
    if (row === undefined) throw tokenTaken(token.id);
  }

  async findByHash(secretHash: string): Promise<TokenRecord | undefined> {
    const row = await queries.row<TokenRow>(this.#pool, "findByHash", [secretHash]);
    return row && toToken(row);
  }

  async get(id: string): Promise<TokenRecord | undefined> {
    const row = await queries.row<TokenRow>(this.#pool, "get", [id]);
    return row && toToken(row);
  }

  async getMany(ids: readonly string[]): Promise<TokenRecord[]> {
    return (await queries.rows<TokenRow>(this.#pool, "getMany", [ids])).map(toToken);
  }

  async list(owner?: string): Promise<TokenRecord[]> {
    return (await queries.rows<TokenRow>(this.#pool, "list", [owner])).map(toToken);
  }

  async revoke(id: string, atMs: number): Promise<TokenRecord | undefined> {
    const row = await queries.row<TokenRow>(this.#pool, "revoke", [id, isoTime(atMs)]);
    return row && toToken(row);
  }

  async rotate(id: string, rotation: Rotation): Promise<TokenRecord | undefined> {
    const { secretHash, oldSecretEndsAtMs, atMs } = rotation;
    const values = [id, secretHash, isoTime(oldSecretEndsAtMs), isoTime(atMs)];
    try {
      const row = await queries.row<TokenRow>(this.#pool, "rotate", values);
      return row && toToken(row);
    } catch (error) {
      throw error instanceof DatabaseError && error.code === uniqueViolation
        ? tokenTaken(id)
        : error;
    }
  }

  async grant(id: string, { owner, scopes }: TokenGrant): Promise<void> {
    await queries.rows(this.#pool, "grant", [id, owner, JSON.stringify(scopes)]);
  }

  async deleteOfJob(jobId: string): Promise<void> {
    await queries.rows(this.#pool, "deleteOfJob", [jobId]);
  }

  async insertLink(secretHash: string, expiresAtMs: number, grant: TokenGrant): Promise<void> {
    const { owner, scopes } = grant;
    const values = [secretHash, isoTime(expiresAtMs), owner, JSON.stringify(scopes)];
    await queries.rows(this.#pool, "insertLink", values);
  }

  async useLink(secretHash: string, nowMs: number): Promise<TokenGrant | undefined> {
    const row = await queries.row<LinkRow>(this.#pool, "useLink", [secretHash, isoTime(nowMs)]);
    await queries.rows(this.#pool, "dropLinks", [isoTime(nowMs)]);
    return row && toGrant(row);
  }
}
