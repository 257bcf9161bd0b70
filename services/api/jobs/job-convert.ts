/** Request details of the job methods. */
import type { HandlerContext } from "@connectrpc/connect";
import { invalidField } from "@devmesh/mesh/errors";

/**
 * What a key may be: printable ASCII that neither begins nor ends with a space. Anything else is
 * not the same text on every way: headers have no NUL, no agreed encoding, and lose outer spaces.
 */
const keyPattern = /^[!-~](?:[ -~]*[!-~])?$/;

/**
 * The header `Idempotency-Key`, else the field; an empty field: no key. Throws
 * INVALID_FIELD for a header without a key, for a key over 255 characters, and
 * for one with characters that a key may not have.
 */
export function idempotencyKeyOf(context: HandlerContext, field: string): string {
  const header = context.requestHeader.get("idempotency-key");
  if (header === "") throw invalidField("idempotencyKey", "the header has no key in it");
  const key = header ?? field;
  if (key.length > 255) throw invalidField("idempotencyKey", "is longer than 255 characters");
  if (key === "" || keyPattern.test(key)) return key;
  throw invalidField(
    "idempotencyKey",
    "has characters other than printable ASCII, or a space at its start or end",
  );
}
