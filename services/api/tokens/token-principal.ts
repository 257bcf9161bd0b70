/** Who holds a token, and whether it still works. */
import type { Principal } from "@devmesh/mesh/context";
import { allScopes } from "./scopes.ts";
import type { TokenRecord } from "./token-store.ts";

/** What a secret is worth. */
export type SecretState = "works" | "ended" | "unknown";

/** The holder of a token, who came with one of its secrets. */
export class TokenPrincipal implements Principal {
  readonly id: string;
  readonly owner: string;
  readonly scopes: ReadonlySet<string>;
  readonly jobId: string;
  /** The hash of the secret it came with: of two, one may end before the other. */
  readonly secretHash: string;

  /** `every` is every scope there is: what `*` stands for. */
  constructor(token: TokenRecord, secretHash: string, every: readonly string[]) {
    const { scopes } = token;
    this.id = token.id;
    this.owner = token.owner;
    this.scopes = new Set(scopes.includes(allScopes) ? [...scopes, ...every] : scopes);
    this.jobId = token.jobId;
    this.secretHash = secretHash;
  }
}

/** What a secret is worth as one of this token's. */
export function stateOfSecret(token: TokenRecord, secretHash: string, nowMs: number): SecretState {
  const { oldSecretHash, oldSecretEndsAtMs = 0 } = token;
  const isCurrent = secretHash === token.secretHash;
  if (!isCurrent && secretHash !== oldSecretHash) return "ended";
  const isOver = !isCurrent && oldSecretEndsAtMs <= nowMs;
  return isOver || hasEnded(token, nowMs) ? "ended" : "works";
}

/** True if none of the token's secrets works any more. */
export function hasEnded({ revokedAtMs, expiresAtMs }: TokenRecord, nowMs: number): boolean {
  return revokedAtMs !== undefined || (expiresAtMs !== undefined && expiresAtMs <= nowMs);
}
