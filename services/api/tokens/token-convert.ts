/** Tokens at rest as messages. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Token, TokenSchema } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { allScopes } from "./scopes.ts";
import type { TokenRecord } from "./token-store.ts";

/** The message of a token, without its secret's hash. `every` is what `*` stands for. */
export function toToken(record: TokenRecord, every: readonly string[]): Token {
  const { id, name, owner, scopes, createdAtMs, expiresAtMs, revokedAtMs } = record;
  return create(TokenSchema, {
    id,
    name,
    owner,
    scopes: [...(scopes.includes(allScopes) ? every : scopes)],
    createTime: timestampFromMs(createdAtMs),
    ...(expiresAtMs !== undefined && { expireTime: timestampFromMs(expiresAtMs) }),
    ...(revokedAtMs !== undefined && { revokeTime: timestampFromMs(revokedAtMs) }),
  });
}
