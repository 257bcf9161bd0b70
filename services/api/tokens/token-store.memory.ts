/** The token store in memory: gone with the process. */
import { tokenTaken } from "./token-rows.ts";
import type { Rotation, TokenGrant, TokenRecord, TokenStore } from "./token-store.ts";

/** Tokens and console links in this process. */
export class MemoryTokenStore implements TokenStore {
  readonly #tokens = new Map<string, TokenRecord>();
  readonly #links = new Map<string, { readonly expiresAtMs: number; readonly grant: TokenGrant }>();

  async insert(token: TokenRecord): Promise<void> {
    const taken = [...this.#tokens.values()].some((t) => t.secretHash === token.secretHash);
    if (taken || this.#tokens.has(token.id)) {
      throw tokenTaken(token.id);
    }
    this.#tokens.set(token.id, { ...token, scopes: [...token.scopes] });
  }

  async findByHash(secretHash: string): Promise<TokenRecord | undefined> {
    const all = [...this.#tokens.values()];
    return (
      all.find((token) => token.secretHash === secretHash) ??
      all.find((token) => token.oldSecretHash === secretHash)
    );
  }

  async get(id: string): Promise<TokenRecord | undefined> {
    return this.#tokens.get(id);
  }

  async getMany(ids: readonly string[]): Promise<TokenRecord[]> {
    return [...new Set(ids)].flatMap((id) => this.#tokens.get(id) ?? []);
  }

  async list(owner?: string): Promise<TokenRecord[]> {
    return [...this.#tokens.values()]
      .filter((token) => token.jobId === "" && (owner === undefined || token.owner === owner))
      .sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1));
  }

  async revoke(id: string, atMs: number): Promise<TokenRecord | undefined> {
    const token = this.#tokens.get(id);
    if (token === undefined || token.revokedAtMs !== undefined) return token;
    const revoked = { ...token, revokedAtMs: atMs };
    this.#tokens.set(id, revoked);
    return revoked;
  }

  async rotate(id: string, rotation: Rotation): Promise<TokenRecord | undefined> {
    const { secretHash, oldSecretEndsAtMs, atMs } = rotation;
    const isTaken = [...this.#tokens.values()].some((token) => token.secretHash === secretHash);
    if (isTaken) throw tokenTaken(id);
    const token = this.#tokens.get(id);
    if (token === undefined || token.jobId !== "" || token.revokedAtMs !== undefined) return;
    if (token.expiresAtMs !== undefined && token.expiresAtMs <= atMs) return;
    const rotated = { ...token, secretHash, oldSecretHash: token.secretHash, oldSecretEndsAtMs };
    this.#tokens.set(id, rotated);
    return rotated;
  }

  async grant(id: string, { owner, scopes }: TokenGrant): Promise<void> {
    const token = this.#tokens.get(id);
    if (token !== undefined) this.#tokens.set(id, { ...token, owner, scopes: [...scopes] });
  }

  async deleteOfJob(jobId: string): Promise<void> {
    for (const token of this.#tokens.values()) {
      if (jobId !== "" && token.jobId === jobId) this.#tokens.delete(token.id);
    }
  }

  async insertLink(secretHash: string, expiresAtMs: number, grant: TokenGrant): Promise<void> {
    if (!this.#links.has(secretHash)) this.#links.set(secretHash, { expiresAtMs, grant });
  }

  async useLink(secretHash: string, nowMs: number): Promise<TokenGrant | undefined> {
    for (const [hash, { expiresAtMs }] of this.#links) {
      if (expiresAtMs <= nowMs) this.#links.delete(hash);
    }
    const link = this.#links.get(secretHash);
    this.#links.delete(secretHash);
    return link?.grant;
  }
}
