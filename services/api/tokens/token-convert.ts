/** Tokens at rest as messages. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Token, TokenSchema } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import type { TokenRecord } from "./token-store.ts";

/** The message of a token, without its secret's hash. */
export function toToken(record: TokenRecord): Token {
  const { id, name, scopes, createdAtMs, expiresAtMs, revokedAtMs } = record;
  return create(TokenSchema, {
    id,
    name,
    scopes: [...scopes],
    createTime: timestampFromMs(createdAtMs),
    ...(expiresAtMs !== undefined && { expireTime: timestampFromMs(expiresAtMs) }),
    ...(revokedAtMs !== undefined && { revokeTime: timestampFromMs(revokedAtMs) }),
  });
}
