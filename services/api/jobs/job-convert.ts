/** Request details of the job methods. */
import type { HandlerContext } from "@connectrpc/connect";
import { invalidField } from "@devmesh/mesh/errors";

/**
 * The header `Idempotency-Key`, else the field; an empty field: no key. Throws
 * INVALID_FIELD for a header without a key, and for a key over 255 bytes.
 */
export function idempotencyKeyOf(context: HandlerContext, field: string): string {
  const header = context.requestHeader.get("idempotency-key");
  if (header === "") throw invalidField("idempotencyKey", "the header has no key in it");
  const key = header ?? field;
  if (Buffer.byteLength(key) <= 255) return key;
  throw invalidField("idempotencyKey", "is longer than 255 bytes");
}
