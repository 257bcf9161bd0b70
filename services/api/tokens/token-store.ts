/** The port behind which access tokens live. Secrets are known as hashes only. */

/** A token at rest. Times are milliseconds since the Unix epoch. */
export interface TokenRecord {
  readonly id: string;
  readonly name: string;
  /** Whose it is. */
  readonly owner: string;
  /** SHA-256 of the secret, in hex. */
  readonly secretHash: string;
  /** `*` stands for every scope there is, those of later versions included. */
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  /** Absent: never. */
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  /** The job whose lease it lives with. Empty: none. Such tokens are not listed. */
  readonly jobId: string;
  /** The secret before the last rotation. Absent: there was none. */
  readonly oldSecretHash: string | undefined;
  /** How long the old secret works. It stays known after that, as one that has ended. */
  readonly oldSecretEndsAtMs: number | undefined;
}

/** A new secret for a token. */
export interface Rotation {
  readonly secretHash: string;
  /** How long the old one works on. */
  readonly oldSecretEndsAtMs: number;
  /** Now: tokens that have expired by then are not rotated. */
  readonly atMs: number;
}

/** Whose a token is and what it may do. */
export interface TokenGrant {
  readonly owner: string;
  readonly scopes: readonly string[];
}

/** Tokens and console links. */
export interface TokenStore {
  /** Throws ALREADY_EXISTS if the id or the hash is taken. */
  insert(token: TokenRecord): Promise<void>;
  /**
   * The token with this hash as its secret's or its old secret's; revoked and
   * expired ones included.
   */
  findByHash(secretHash: string): Promise<TokenRecord | undefined>;
  get(id: string): Promise<TokenRecord | undefined>;
  /** Those of the tokens that there are, in any order. */
  getMany(ids: readonly string[]): Promise<TokenRecord[]>;
  /** Tokens that belong to no job, newest first. `owner` absent: everybody's. */
  list(owner?: string): Promise<TokenRecord[]>;
  /** Revokes at `atMs` unless it is revoked already; answers the token, or undefined if there is none. */
  revoke(id: string, atMs: number): Promise<TokenRecord | undefined>;
  /**
   * Gives a token a new secret; answers the token, or undefined if there is
   * none that works and belongs to no job. Throws ALREADY_EXISTS for a hash
   * that is taken.
   */
  rotate(id: string, rotation: Rotation): Promise<TokenRecord | undefined>;
  /** Changes what a token may do and whose it is. */
  grant(id: string, grant: TokenGrant): Promise<void>;
  /** Deletes the tokens of a job. */
  deleteOfJob(jobId: string): Promise<void>;
  /** Keeps a console link's hash until it is used or `expiresAtMs` is past. */
  insertLink(secretHash: string, expiresAtMs: number, grant: TokenGrant): Promise<void>;
  /** What a link is worth: exactly once, and not past its end. Else undefined. */
  useLink(secretHash: string, nowMs: number): Promise<TokenGrant | undefined>;
}
