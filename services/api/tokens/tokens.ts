/** The rules of access tokens: made once, shown once, hashed at rest. */
import { hash, randomBytes } from "node:crypto";
import type { Principal } from "@devmesh/mesh/context";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";
import { requireScope } from "@devmesh/mesh/interceptors";
import type { Clock, Ids } from "@devmesh/mesh/runtime";
import type { TokenRecord, TokenStore } from "./token-store.ts";

/** What a secret is worth. */
export type SecretState = "works" | "ended" | "unknown";

/** How long a console link works: five minutes. */
const linkTtlMs = 5 * 60 * 1000;

/** How long the console's token works: 30 days. */
const consoleTtlMs = 30 * 24 * 60 * 60 * 1000;

/** What a job's own calls may do. */
const jobScopes = ["llm:invoke", "context:read", "read:self"];

/** What tokens need. */
export interface TokensOptions {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Every scope there is. */
  readonly scopes: readonly string[];
  /** True while a runner holds the job: its token works as long. */
  readonly isRunning: (jobId: string) => Promise<boolean>;
}

/** A token and the secret that is shown once. */
export interface NewToken {
  readonly token: TokenRecord;
  readonly secret: string;
}

/** Makes, checks and ends tokens. */
export class Tokens {
  readonly #store: TokenStore;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #isRunning: TokensOptions["isRunning"];
  /** Every scope there is. */
  readonly scopes: readonly string[];

  constructor({ store, clock, ids, scopes, isRunning }: TokensOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#ids = ids;
    this.#isRunning = isRunning;
    this.scopes = scopes;
  }

  /**
   * Makes a token for `creator`, who must hold every scope it grants. Throws
   * INVALID_FIELD for scopes that do not exist, SCOPE_MISSING.
   */
  async create(
    creator: Principal,
    input: { name: string; scopes: readonly string[]; ttlMs: number | undefined },
  ): Promise<NewToken> {
    for (const scope of input.scopes) {
      if (!this.scopes.includes(scope)) {
        throw new DevmeshError(
          "INVALID_FIELD",
          `scopes: there is no scope ${JSON.stringify(scope)}; there are ${this.scopes.join(", ")}`,
          { metadata: { field: "scopes" } },
        );
      }
      requireScope(creator, scope);
    }
    return this.#insert(input.name, input.scopes, input.ttlMs, newTokenSecret(), "");
  }

  /** A token for everything, with a secret that is made here or given. */
  async createOwner(secret = newTokenSecret()): Promise<NewToken> {
    return this.#insert("owner", this.scopes, undefined, secret, "");
  }

  /**
   * A token for the calls of a job that a runner has just leased; those of its
   * earlier leases end. It works while the job runs.
   */
  async createForJob(jobId: string): Promise<NewToken> {
    await this.endJob(jobId);
    return this.#insert(`job ${jobId}`, jobScopes, undefined, newSecret("dmj"), jobId);
  }

  /** Ends the tokens of a job. */
  endJob(jobId: string): Promise<void> {
    return this.#store.deleteOfJob(jobId);
  }

  /** Tokens that belong to no job, newest first. */
  list(): Promise<TokenRecord[]> {
    return this.#store.list();
  }

  /** One token. Throws NOT_FOUND. */
  async get(id: string): Promise<TokenRecord> {
    const token = await this.#store.get(id);
    if (token === undefined) throw notFound("token", id);
    return token;
  }

  /** Ends a token. Throws NOT_FOUND. */
  async revoke(id: string): Promise<TokenRecord> {
    const token = await this.#store.revoke(id, this.#clock.now());
    if (token === undefined) throw notFound("token", id);
    return token;
  }

  /** What a secret is worth now. */
  async stateOf(secret: string): Promise<SecretState> {
    const token = await this.#store.findByHash(hashOf(secret));
    if (token === undefined) return "unknown";
    return this.#hasEnded(token) ? "ended" : "works";
  }

  /** The holder of a secret. Throws UNAUTHENTICATED; the text does not say which check failed. */
  async authenticate(secret: string): Promise<Principal> {
    const token = await this.#store.findByHash(hashOf(secret));
    if (token === undefined || this.#hasEnded(token)) throw unauthenticated();
    const { id, scopes, jobId } = token;
    if (jobId !== "" && !(await this.#isRunning(jobId))) throw unauthenticated();
    return { id, scopes: new Set(scopes), jobId };
  }

  #hasEnded({ revokedAtMs, expiresAtMs }: TokenRecord): boolean {
    const isExpired = expiresAtMs !== undefined && expiresAtMs <= this.#clock.now();
    return revokedAtMs !== undefined || isExpired;
  }

  /** Makes a secret that opens the console once. */
  async createLink(): Promise<{ secret: string; expiresAtMs: number }> {
    const secret = newSecret("dml");
    const expiresAtMs = this.#clock.now() + linkTtlMs;
    await this.#store.insertLink(hashOf(secret), expiresAtMs);
    return { secret, expiresAtMs };
  }

  /** Turns a link into a token, once. Throws UNAUTHENTICATED. */
  async redeemLink(secret: string): Promise<NewToken> {
    if (!(await this.#store.useLink(hashOf(secret), this.#clock.now()))) {
      throw new DevmeshError(
        "UNAUTHENTICATED",
        "the link is unknown, used or too old: make a new one with `devmesh console`",
      );
    }
    return this.#insert("console", this.scopes, consoleTtlMs, newTokenSecret(), "");
  }

  async #insert(
    name: string,
    scopes: readonly string[],
    ttlMs: number | undefined,
    secret: string,
    jobId: string,
  ): Promise<NewToken> {
    const createdAtMs = this.#clock.now();
    const token: TokenRecord = {
      id: this.#ids.next("tok"),
      name,
      secretHash: hashOf(secret),
      scopes: [...scopes],
      createdAtMs,
      expiresAtMs: ttlMs === undefined ? undefined : createdAtMs + ttlMs,
      revokedAtMs: undefined,
      jobId,
    };
    await this.#store.insert(token);
    return { token, secret };
  }
}

/** The one refusal of every secret that is not good. */
export function unauthenticated(): DevmeshError {
  return new DevmeshError("UNAUTHENTICATED", "the token is unknown, expired or revoked");
}

/** A new secret of a token that people hold. */
export function newTokenSecret(): string {
  return newSecret("dm");
}

/** 256 random bits need no slow hash. */
function hashOf(secret: string): string {
  return hash("sha256", secret, "hex");
}

function newSecret(prefix: string): string {
  return `${prefix}_${randomBytes(32).toString("base64url")}`;
}
