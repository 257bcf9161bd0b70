/** The token store in memory: gone with the process. */
import { tokenTaken } from "./token-rows.ts";
import type { TokenRecord, TokenStore } from "./token-store.ts";

/** Tokens and console links in this process. */
export class MemoryTokenStore implements TokenStore {
  readonly #tokens = new Map<string, TokenRecord>();
  readonly #links = new Map<string, number>();

  async insert(token: TokenRecord): Promise<void> {
    const taken = [...this.#tokens.values()].some((t) => t.secretHash === token.secretHash);
    if (taken || this.#tokens.has(token.id)) {
      throw tokenTaken(token.id);
    }
    this.#tokens.set(token.id, { ...token, scopes: [...token.scopes] });
  }

  async findByHash(secretHash: string): Promise<TokenRecord | undefined> {
    return [...this.#tokens.values()].find((token) => token.secretHash === secretHash);
  }

  async get(id: string): Promise<TokenRecord | undefined> {
    return this.#tokens.get(id);
  }

  async list(): Promise<TokenRecord[]> {
    return [...this.#tokens.values()]
      .filter((token) => token.jobId === "")
      .sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1));
  }

  async revoke(id: string, atMs: number): Promise<TokenRecord | undefined> {
    const token = this.#tokens.get(id);
    if (token === undefined || token.revokedAtMs !== undefined) return token;
    const revoked = { ...token, revokedAtMs: atMs };
    this.#tokens.set(id, revoked);
    return revoked;
  }

  async deleteOfJob(jobId: string): Promise<void> {
    for (const token of this.#tokens.values()) {
      if (jobId !== "" && token.jobId === jobId) this.#tokens.delete(token.id);
    }
  }

  async insertLink(secretHash: string, expiresAtMs: number): Promise<void> {
    this.#links.set(secretHash, expiresAtMs);
  }

  async useLink(secretHash: string, nowMs: number): Promise<boolean> {
    for (const [hash, expiresAtMs] of this.#links) {
      if (expiresAtMs <= nowMs) this.#links.delete(hash);
    }
    return this.#links.delete(secretHash);
  }
}
