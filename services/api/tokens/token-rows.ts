/** Rows of the table `tokens`, and the records they stand for. */
import { DevmeshError } from "@devmesh/mesh/errors";
import type { TokenGrant, TokenRecord } from "./token-store.ts";

/** A row of `tokens`. Drivers differ in how they hand out times. */
export interface TokenRow {
  readonly id: string;
  readonly name: string;
  readonly secret_hash: string;
  /** A JSON array. */
  readonly scopes: string;
  readonly created_at: string | Date;
  readonly expires_at: string | Date | null;
  readonly revoked_at: string | Date | null;
  readonly job_id: string;
  readonly owner: string;
  readonly old_secret_hash: string | null;
  readonly old_secret_expires_at: string | Date | null;
}

/** What a row of `console_links` is worth. */
export interface LinkRow {
  readonly owner: string;
  /** A JSON array. */
  readonly scopes: string;
}

/** The columns of TokenRow, for SELECT, INSERT and RETURNING. */
export const tokenColumns = `
  id, name, secret_hash, scopes, created_at, expires_at, revoked_at, job_id, owner,
  old_secret_hash, old_secret_expires_at`;

/** The record that a row stands for. */
export function toToken(row: TokenRow): TokenRecord {
  const ms = (time: string | Date | null) => (time === null ? undefined : new Date(time).getTime());
  return {
    id: row.id,
    name: row.name,
    secretHash: row.secret_hash,
    scopes: JSON.parse(row.scopes) as string[],
    createdAtMs: new Date(row.created_at).getTime(),
    expiresAtMs: ms(row.expires_at),
    revokedAtMs: ms(row.revoked_at),
    jobId: row.job_id,
    owner: row.owner,
    oldSecretHash: row.old_secret_hash ?? undefined,
    oldSecretEndsAtMs: ms(row.old_secret_expires_at),
  };
}

/** The grant that a link's row stands for. */
export function toGrant({ owner, scopes }: LinkRow): TokenGrant {
  return { owner, scopes: JSON.parse(scopes) as string[] };
}

/** The values of `tokenColumns`, in their order. */
export function tokenValues(token: TokenRecord): (string | null)[] {
  const { id, name, secretHash, scopes, createdAtMs, expiresAtMs, revokedAtMs, jobId } = token;
  const end = (ms: number | undefined) => (ms === undefined ? null : isoTime(ms));
  const times = [isoTime(createdAtMs), end(expiresAtMs), end(revokedAtMs)];
  const old = [token.oldSecretHash ?? null, end(token.oldSecretEndsAtMs)];
  return [id, name, secretHash, JSON.stringify(scopes), ...times, jobId, token.owner, ...old];
}

/** A time as both dialects take it. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** The refusal of a token whose id or secret is taken. */
export function tokenTaken(id: string): DevmeshError {
  return new DevmeshError("ALREADY_EXISTS", `token ${id} or its secret is taken`, {
    metadata: { resource: "token", id },
  });
}
