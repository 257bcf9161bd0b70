/** The token store on Postgres. */
import type { Pool } from "pg";
import { PostgresQueries } from "../postgres-query.ts";
import {
  isoTime,
  type TokenRow,
  tokenColumns,
  tokenTaken,
  tokenValues,
  toToken,
} from "./token-rows.ts";
import type { TokenRecord, TokenStore } from "./token-store.ts";

const queries = new PostgresQueries("tokens", {
  insert: `
    INSERT INTO tokens (${tokenColumns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT DO NOTHING
    RETURNING id`,
  findByHash: `SELECT ${tokenColumns} FROM tokens WHERE secret_hash = $1`,
  get: `SELECT ${tokenColumns} FROM tokens WHERE id = $1`,
  list: `
    SELECT ${tokenColumns} FROM tokens WHERE job_id = ''
    ORDER BY created_at DESC, id DESC`,
  revoke: `
    UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
    RETURNING ${tokenColumns}`,
  deleteOfJob: "DELETE FROM tokens WHERE job_id = $1 AND job_id <> ''",
  insertLink: `
    INSERT INTO console_links (secret_hash, expires_at) VALUES ($1, $2)
    ON CONFLICT (secret_hash) DO UPDATE SET expires_at = excluded.expires_at`,
  useLink: `
    DELETE FROM console_links WHERE secret_hash = $1 AND expires_at > $2
    RETURNING secret_hash`,
  dropLinks: "DELETE FROM console_links WHERE expires_at <= $1",
});

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

  async list(): Promise<TokenRecord[]> {
    return (await queries.rows<TokenRow>(this.#pool, "list")).map(toToken);
  }

  async revoke(id: string, atMs: number): Promise<TokenRecord | undefined> {
    const row = await queries.row<TokenRow>(this.#pool, "revoke", [id, isoTime(atMs)]);
    return row && toToken(row);
  }

  async deleteOfJob(jobId: string): Promise<void> {
    await queries.rows(this.#pool, "deleteOfJob", [jobId]);
  }

  async insertLink(secretHash: string, expiresAtMs: number): Promise<void> {
    await queries.rows(this.#pool, "insertLink", [secretHash, isoTime(expiresAtMs)]);
  }

  async useLink(secretHash: string, nowMs: number): Promise<boolean> {
    const row = await queries.row(this.#pool, "useLink", [secretHash, isoTime(nowMs)]);
    await queries.rows(this.#pool, "dropLinks", [isoTime(nowMs)]);
    return row !== undefined;
  }
}
