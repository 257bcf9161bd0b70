/** The rules of access tokens: made once, shown once, hashed at rest, ended at once. */
import { hash, randomBytes } from "node:crypto";
import type { Principal } from "@devmesh/mesh/context";
import { DevmeshError, invalidField, notFound } from "@devmesh/mesh/errors";
import { requireScope } from "@devmesh/mesh/interceptors";
import type { Clock, Ids } from "@devmesh/mesh/runtime";
import { adminScope, allScopes } from "./scopes.ts";
import { hasEnded, type SecretState, stateOfSecret, TokenPrincipal } from "./token-principal.ts";
import type { TokenGrant, TokenRecord, TokenStore } from "./token-store.ts";

/** How long a console link works: five minutes. */
const linkTtlMs = 5 * 60 * 1000;

/** How long the console's token works: 30 days. */
const consoleTtlMs = 30 * 24 * 60 * 60 * 1000;

/** What a job's own calls may do. */
const jobScopes = ["llm:invoke", "context:read", "read:self"];

/** The deployment's owner: may everything, also what later versions add. */
const everything: TokenGrant = { owner: "owner", scopes: [allScopes] };

/** What tokens need. */
export interface TokensOptions {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Every scope there is. */
  readonly scopes: readonly string[];
  /** True while a runner holds the job: its token works as long. */
  readonly isRunning: (jobId: string) => Promise<boolean>;
  /** Told of each token that has ended or changed its secret here, so that its streams end at once. */
  readonly onEnd?: (tokenId: string) => void;
}

/** A token and the secret that is shown once. */
export interface NewToken {
  readonly token: TokenRecord;
  readonly secret: string;
}

/** A token to be made. */
export interface CreateTokenInput {
  readonly name: string;
  /** Empty or absent: the creator's own. */
  readonly owner?: string;
  readonly scopes: readonly string[];
  /** Undefined: for ever. */
  readonly ttlMs: number | undefined;
}

/** Makes, checks and ends tokens. */
export class Tokens {
  readonly #store: TokenStore;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #isRunning: TokensOptions["isRunning"];
  readonly #onEnd: (tokenId: string) => void;
  /** Every scope there is. */
  readonly scopes: readonly string[];

  constructor({ store, clock, ids, scopes, isRunning, onEnd }: TokensOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#ids = ids;
    this.#isRunning = isRunning;
    this.#onEnd = onEnd ?? (() => {});
    this.scopes = scopes;
  }

  /**
   * Makes a token for `creator`, who must hold every scope it grants, and
   * `admin:owners` to make it another's. Throws INVALID_FIELD for a name that
   * cannot be shown and for scopes that do not exist, SCOPE_MISSING.
   */
  async create(creator: Principal, input: CreateTokenInput): Promise<NewToken> {
    const { name, scopes, ttlMs } = input;
    refuseUnclearName(name);
    for (const scope of scopes) {
      if (!this.scopes.includes(scope)) {
        const known = this.scopes.join(", ");
        throw invalidField(
          "scopes",
          `there is no scope ${JSON.stringify(scope)}; there are ${known}`,
        );
      }
      requireScope(creator, scope);
    }
    const owner = input.owner || creator.owner;
    if (owner !== creator.owner) requireScope(creator, adminScope);
    return this.#insert({ name, owner, scopes, ttlMs });
  }

  /** A token for everything, with a secret that is made here or given. */
  async createOwner(secret = newTokenSecret()): Promise<NewToken> {
    return this.#insert({ name: "owner", ...everything, secret });
  }

  /** Lets the token of an owner's secret do everything, if an older version made it for less. */
  async promoteOwner(secret: string): Promise<void> {
    const token = await this.#store.findByHash(hashOf(secret));
    if (token === undefined || token.scopes.includes(allScopes)) return;
    await this.#store.grant(token.id, everything);
  }

  /** True if some token that works may do everything. */
  async hasOwner(): Promise<boolean> {
    const nowMs = this.#clock.now();
    return (await this.#store.list()).some(
      (token) => token.scopes.includes(allScopes) && !hasEnded(token, nowMs),
    );
  }

  /**
   * A token for the calls of a job that a runner has just leased; those of its
   * earlier leases end. It acts for the job's owner and works while the job runs.
   */
  async createForJob({ id, owner }: { id: string; owner: string }): Promise<NewToken> {
    await this.endJob(id);
    const secret = newSecret("dmj");
    return this.#insert({ name: `job ${id}`, owner, scopes: jobScopes, secret, jobId: id });
  }

  /** Ends the tokens of a job. */
  async endJob(jobId: string): Promise<void> {
    await this.#store.deleteOfJob(jobId);
    this.#onEnd(jobId);
  }

  /** Tokens that belong to no job, newest first. `owner` absent: everybody's. */
  list(owner?: string): Promise<TokenRecord[]> {
    return this.#store.list(owner);
  }

  /** One token. Throws NOT_FOUND. */
  async get(id: string): Promise<TokenRecord> {
    const token = await this.#store.get(id);
    if (token === undefined) throw notFound("token", id);
    return token;
  }

  /** Whose a token is; undefined if there is none. */
  async ownerOf(id: string): Promise<string | undefined> {
    return (await this.#store.get(id))?.owner;
  }

  /** Ends a token, with both its secrets. Throws NOT_FOUND. */
  async revoke(id: string): Promise<TokenRecord> {
    const token = await this.#store.revoke(id, this.#clock.now());
    if (token === undefined) throw notFound("token", id);
    this.#onEnd(id);
    return token;
  }

  /**
   * Gives a token a new secret; the one before works on for `graceMs`, and the
   * one before that ends. Throws NOT_FOUND (also for a job's token), and
   * WRONG_STATE for one that is revoked or expired.
   */
  async rotate(id: string, graceMs: number): Promise<NewToken> {
    const secret = newTokenSecret();
    const atMs = this.#clock.now();
    const rotation = { secretHash: hashOf(secret), oldSecretEndsAtMs: atMs + graceMs, atMs };
    const rotated = await this.#store.rotate(id, rotation);
    if (rotated !== undefined) {
      this.#onEnd(id);
      return { token: rotated, secret };
    }
    const token = await this.get(id);
    if (token.jobId !== "") throw notFound("token", id);
    const state = token.revokedAtMs === undefined ? "expired" : "revoked";
    throw new DevmeshError("WRONG_STATE", `token ${id} is ${state}: make a new one`, {
      metadata: { state },
    });
  }

  /** What a secret is worth now. */
  async stateOf(secret: string): Promise<SecretState> {
    const secretHash = hashOf(secret);
    const token = await this.#store.findByHash(secretHash);
    return token === undefined ? "unknown" : stateOfSecret(token, secretHash, this.#clock.now());
  }

  /**
   * The holder of a secret, asked of the store at each call: what ends, ends
   * everywhere at once. Throws UNAUTHENTICATED; the text does not say which
   * check failed.
   */
  async authenticate(secret: string): Promise<Principal> {
    // Nothing else was ever given out: the store need not be asked.
    if (!secretPattern.test(secret)) throw unauthenticated();
    const secretHash = hashOf(secret);
    const token = await this.#store.findByHash(secretHash);
    if (token === undefined) throw unauthenticated();
    const principal = new TokenPrincipal(token, secretHash, this.scopes);
    if (!(await this.#works(principal, token))) throw unauthenticated();
    return principal;
  }

  /** Those of the holders whose token works no longer. */
  async ended(principals: readonly TokenPrincipal[]): Promise<TokenPrincipal[]> {
    const ids = [...new Set(principals.map(({ id }) => id))];
    const tokens = new Map((await this.#store.getMany(ids)).map((token) => [token.id, token]));
    const ended: TokenPrincipal[] = [];
    for (const principal of principals) {
      const token = tokens.get(principal.id);
      if (token === undefined || !(await this.#works(principal, token))) ended.push(principal);
    }
    return ended;
  }

  async #works({ secretHash, jobId }: TokenPrincipal, token: TokenRecord): Promise<boolean> {
    if (stateOfSecret(token, secretHash, this.#clock.now()) !== "works") return false;
    return jobId === "" || (await this.#isRunning(jobId));
  }

  /**
   * Makes a secret that opens the console once. The console's token will have
   * its creator's owner and scopes, no more.
   */
  async createLink(creator?: Principal): Promise<{ secret: string; expiresAtMs: number }> {
    const secret = newSecret("dml");
    const expiresAtMs = this.#clock.now() + linkTtlMs;
    const grant = creator === undefined ? everything : this.#grantOf(creator);
    await this.#store.insertLink(hashOf(secret), expiresAtMs, grant);
    return { secret, expiresAtMs };
  }

  /** Turns a link into a token, once. Throws UNAUTHENTICATED. */
  async redeemLink(secret: string): Promise<NewToken> {
    const grant = await this.#store.useLink(hashOf(secret), this.#clock.now());
    if (grant === undefined) {
      throw new DevmeshError(
        "UNAUTHENTICATED",
        "the link is unknown, used or too old: make a new one with `devmesh console`",
      );
    }
    return this.#insert({ name: "console", ...grant, ttlMs: consoleTtlMs });
  }

  #grantOf({ owner, scopes }: Principal): TokenGrant {
    const held = this.scopes.filter((scope) => scopes.has(scope));
    return { owner, scopes: scopes.has(allScopes) ? [allScopes] : held };
  }

  async #insert(
    input: TokenGrant & {
      name: string;
      ttlMs?: number | undefined;
      secret?: string;
      jobId?: string;
    },
  ): Promise<NewToken> {
    const { name, owner, scopes, ttlMs, secret = newTokenSecret(), jobId = "" } = input;
    const createdAtMs = this.#clock.now();
    const token: TokenRecord = {
      id: this.#ids.next("tok"),
      name,
      owner,
      secretHash: hashOf(secret),
      scopes: [...scopes],
      createdAtMs,
      expiresAtMs: ttlMs === undefined ? undefined : createdAtMs + ttlMs,
      revokedAtMs: undefined,
      jobId,
      oldSecretHash: undefined,
      oldSecretEndsAtMs: undefined,
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

/** Secrets of tokens: 256 random bits. */
const secretPattern = /^dmj?_[A-Za-z0-9_-]{43}$/;

/** 256 random bits need no slow hash. */
function hashOf(secret: string): string {
  return hash("sha256", secret, "hex");
}

function newSecret(prefix: string): string {
  return `${prefix}_${randomBytes(32).toString("base64url")}`;
}

/**
 * Names are shown to people who decide by them: no text that is invisible, turns
 * its surroundings around, or is only space.
 */
function refuseUnclearName(name: string): void {
  if (name.trim() === "") throw invalidField("name", "is empty or only space");
  if (/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u.test(name)) {
    throw invalidField(
      "name",
      "has characters that cannot be seen (controls, joiners, direction marks)",
    );
  }
}
