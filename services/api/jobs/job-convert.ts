/** Page tokens and request details of the job methods. */
import type { HandlerContext } from "@connectrpc/connect";
import { DevmeshError } from "@devmesh/mesh/errors";

/** The page token that continues behind a job's id. */
export function encodePageToken(lastId: string): string {
  return Buffer.from(JSON.stringify([1, lastId])).toString("base64url");
}

/** The id that a page token continues behind; undefined for the first page. */
export function decodePageToken(token: string): string | undefined {
  if (token === "") return undefined;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (Array.isArray(parsed) && parsed[0] === 1 && typeof parsed[1] === "string") return parsed[1];
  } catch {
    // Falls through to the one refusal.
  }
  throw new DevmeshError("INVALID_PAGE_TOKEN", "pageToken: is not one of this server's", {
    metadata: { field: "pageToken" },
  });
}

/** The header `Idempotency-Key`, else the field; empty: no key. Throws INVALID_FIELD for a key over 255 bytes. */
export function idempotencyKeyOf(context: HandlerContext, field: string): string {
  const key = context.requestHeader.get("idempotency-key") || field;
  if (Buffer.byteLength(key) <= 255) return key;
  throw new DevmeshError("INVALID_FIELD", "idempotencyKey: is longer than 255 bytes", {
    metadata: { field: "idempotencyKey" },
  });
}
