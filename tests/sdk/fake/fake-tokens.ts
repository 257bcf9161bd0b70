/** Tokens and console links in memory. */
import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampNow } from "@bufbuild/protobuf/wkt";
import { type Token, TokenSchema } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";

/** The tokens of the fake server. */
export class FakeTokens {
  readonly #bySecret = new Map<string, Token>();
  readonly #links = new Set<string>();

  make(name: string, scopes: readonly string[], expireTime?: Timestamp, owner = "owner") {
    const id = `tok_${String(this.#bySecret.size + 1).padStart(26, "0")}`;
    const token = create(TokenSchema, {
      id,
      name,
      owner,
      scopes: [...scopes],
      createTime: timestampNow(),
      ...(expireTime && { expireTime }),
    });
    const secret = `secret-of-${id}`;
    this.#bySecret.set(secret, token);
    return { token, secret };
  }

  /** Makes a token with a secret of the caller's choice. */
  seed(secret: string, scopes: readonly string[]): void {
    const { token, secret: made } = this.make("seeded", scopes);
    this.#bySecret.delete(made);
    this.#bySecret.set(secret, token);
  }

  /** Throws UNAUTHENTICATED. */
  authenticate(secret: string | undefined): Token {
    const token = secret === undefined ? undefined : this.#bySecret.get(secret);
    if (token === undefined || token.revokeTime !== undefined) {
      throw new DevmeshError("UNAUTHENTICATED", "the token is unknown, expired or revoked");
    }
    return token;
  }

  all(): Token[] {
    return [...this.#bySecret.values()].reverse();
  }

  revoke(id: string): Token {
    const token = this.all().find((candidate) => candidate.id === id);
    if (token === undefined) throw notFound("token", id);
    token.revokeTime ??= timestampNow();
    return token;
  }

  rotate(id: string) {
    const found = [...this.#bySecret].find(([, token]) => token.id === id);
    if (found === undefined) throw notFound("token", id);
    const [old, token] = found;
    const secret = `${old}-again`;
    this.#bySecret.delete(old);
    this.#bySecret.set(secret, token);
    return { token, secret };
  }

  makeLink(): string {
    const secret = `link-${this.#links.size + 1}`;
    this.#links.add(secret);
    return secret;
  }

  redeem(secret: string) {
    if (this.#links.delete(secret)) return this.make("console", ["read:jobs"]);
    throw new DevmeshError("UNAUTHENTICATED", "the link is unknown, used or too old");
  }
}
