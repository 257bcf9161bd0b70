/** The handlers of `devmesh.api.v1.TokenService`. */

import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  CreateTokenRequest,
  RedeemConsoleLinkRequest,
  RevokeTokenRequest,
  TokenService,
} from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { kPrincipal, kSubject } from "@devmesh/mesh/context";
import { DevmeshError } from "@devmesh/mesh/errors";
import { toToken } from "./token-convert.ts";
import type { Tokens } from "./tokens.ts";

/** Access tokens. */
export class TokenServiceImpl implements ServiceImpl<typeof TokenService> {
  readonly #tokens: Tokens;

  constructor({ tokens }: { readonly tokens: Tokens }) {
    this.#tokens = tokens;
  }

  async createToken({ name, scopes, ttl }: CreateTokenRequest, context: HandlerContext) {
    const ttlMs = ttl === undefined ? undefined : durationMs(ttl);
    const creator = context.values.get(kPrincipal);
    const { token, secret } = await this.#tokens.create(creator, { name, scopes, ttlMs });
    context.values.get(kSubject).resource = token.id;
    return { token: toToken(token), secret };
  }

  async listTokens() {
    return { tokens: (await this.#tokens.list()).map(toToken) };
  }

  async revokeToken({ id }: RevokeTokenRequest, context: HandlerContext) {
    context.values.get(kSubject).resource = id;
    return { token: toToken(await this.#tokens.revoke(id)) };
  }

  async createConsoleLink() {
    const { secret, expiresAtMs } = await this.#tokens.createLink();
    return { secret, expireTime: timestampFromMs(expiresAtMs) };
  }

  async redeemConsoleLink({ secret }: RedeemConsoleLinkRequest, context: HandlerContext) {
    const redeemed = await this.#tokens.redeemLink(secret);
    context.values.get(kSubject).resource = redeemed.token.id;
    return { token: toToken(redeemed.token), secret: redeemed.secret };
  }

  async whoAmI(_req: unknown, context: HandlerContext) {
    const { id, scopes } = context.values.get(kPrincipal);
    if (id.startsWith("tok_")) return { token: toToken(await this.#tokens.get(id)) };
    return {
      token: { id, name: id, scopes: id === "dev" ? [...scopes] : [...this.#tokens.scopes] },
    };
  }

  async rotateToken(): Promise<never> {
    throw new DevmeshError("UNIMPLEMENTED", "not served yet");
  }
}
