/** The port behind which access tokens live. Secrets are known as hashes only. */

/** A token at rest. Times are milliseconds since the Unix epoch. */
export interface TokenRecord {
  readonly id: string;
  readonly name: string;
  /** SHA-256 of the secret, in hex. */
  readonly secretHash: string;
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  /** Absent: never. */
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  /** The job whose lease it lives with. Empty: none. Such tokens are not listed. */
  readonly jobId: string;
}

/** Tokens and console links. */
export interface TokenStore {
  /** Throws ALREADY_EXISTS if the id or the hash is taken. */
  insert(token: TokenRecord): Promise<void>;
  /** The token with this secret's hash, revoked and expired ones included. */
  findByHash(secretHash: string): Promise<TokenRecord | undefined>;
  get(id: string): Promise<TokenRecord | undefined>;
  /** Tokens that belong to no job, newest first. */
  list(): Promise<TokenRecord[]>;
  /** Revokes at `atMs` unless it is revoked already; answers the token, or undefined if there is none. */
  revoke(id: string, atMs: number): Promise<TokenRecord | undefined>;
  /** Deletes the tokens of a job. */
  deleteOfJob(jobId: string): Promise<void>;
  /** Keeps a console link's hash until it is used or `expiresAtMs` is past. */
  insertLink(secretHash: string, expiresAtMs: number): Promise<void>;
  /** True exactly once for a link that is there and not past its end. */
  useLink(secretHash: string, nowMs: number): Promise<boolean>;
}
