/** The handlers of `devmesh.api.v1.TokenService`. */

import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  CreateTokenRequest,
  RedeemConsoleLinkRequest,
  RevokeTokenRequest,
  RotateTokenRequest,
  TokenService,
} from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { kPeer, kPrincipal, kSubject } from "@devmesh/mesh/context";
import type { GuessLimiter } from "./guess-limiter.ts";
import { allScopes, visibleOwner } from "./scopes.ts";
import { toToken } from "./token-convert.ts";
import type { TokenRecord } from "./token-store.ts";
import type { Tokens } from "./tokens.ts";

/** What the handlers need. */
export interface TokenServiceOptions {
  readonly tokens: Tokens;
  readonly guesses: GuessLimiter;
}

/** Access tokens. */
export class TokenServiceImpl implements ServiceImpl<typeof TokenService> {
  readonly #tokens: Tokens;
  readonly #guesses: GuessLimiter;

  constructor({ tokens, guesses }: TokenServiceOptions) {
    this.#tokens = tokens;
    this.#guesses = guesses;
  }

  async createToken({ name, owner, scopes, ttl }: CreateTokenRequest, context: HandlerContext) {
    const ttlMs = ttl === undefined ? undefined : durationMs(ttl);
    const creator = context.values.get(kPrincipal);
    const { token, secret } = await this.#tokens.create(creator, { name, owner, scopes, ttlMs });
    context.values.get(kSubject).resource = token.id;
    return { token: this.#toToken(token), secret };
  }

  async listTokens(_req: unknown, context: HandlerContext) {
    const tokens = await this.#tokens.list(visibleOwner(context.values.get(kPrincipal)));
    return { tokens: tokens.map((token) => this.#toToken(token)) };
  }

  async revokeToken({ id }: RevokeTokenRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    return { token: this.#toToken(await this.#tokens.revoke(id)) };
  }

  async rotateToken({ id, grace }: RotateTokenRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    const graceMs = grace === undefined ? 0 : durationMs(grace);
    const { token, secret } = await this.#tokens.rotate(id, graceMs);
    return { token: this.#toToken(token), secret };
  }

  async createConsoleLink(_req: unknown, context: HandlerContext) {
    const creator = context.values.get(kPrincipal);
    const { secret, expiresAtMs } = await this.#tokens.createLink(creator);
    return { secret, expireTime: timestampFromMs(expiresAtMs) };
  }

  async redeemConsoleLink({ secret }: RedeemConsoleLinkRequest, context: HandlerContext) {
    const { address } = context.values.get(kPeer);
    this.#guesses.take(address);
    const redeemed = await this.#tokens.redeemLink(secret);
    this.#guesses.giveBack(address);
    context.values.get(kSubject).resource = redeemed.token.id;
    return { token: this.#toToken(redeemed.token), secret: redeemed.secret };
  }

  async whoAmI(_req: unknown, context: HandlerContext) {
    const { id, owner, scopes } = context.values.get(kPrincipal);
    if (id.startsWith("tok_")) return { token: this.#toToken(await this.#tokens.get(id)) };
    const held = this.#tokens.scopes.filter((scope) => scopes.has(allScopes) || scopes.has(scope));
    return { token: { id, name: id, owner, scopes: held } };
  }

  #toToken(record: TokenRecord) {
    return toToken(record, this.#tokens.scopes);
  }
}
