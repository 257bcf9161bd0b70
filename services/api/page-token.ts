/**
 * Page tokens of lists: where a page ended, sealed together with the query that
 * it belongs to. The seal finds tokens that were altered or come from another
 * query; a token is no credential, for every page is bounded by its caller.
 */
import { createHash } from "node:crypto";
import { DevmeshError } from "@devmesh/mesh/errors";

/** What a list was asked for besides its place: any JSON. */
export type PageQuery = readonly unknown[];

/** The token that continues behind `last`. */
export function encodePageToken(query: PageQuery, last: string): string {
  const seal = createHash("sha256")
    .update(JSON.stringify([query, last]))
    .digest("base64url");
  return Buffer.from(JSON.stringify([2, last, seal])).toString("base64url");
}

/** What a token continues behind; undefined for the first page. Throws INVALID_PAGE_TOKEN. */
export function decodePageToken(query: PageQuery, token: string): string | undefined {
  if (token === "") return undefined;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    const last: unknown = Array.isArray(parsed) ? parsed[1] : undefined;
    if (typeof last === "string" && encodePageToken(query, last) === token) return last;
  } catch {
    // Falls through to the one refusal.
  }
  throw new DevmeshError(
    "INVALID_PAGE_TOKEN",
    "pageToken: is not one that this server gave for this query",
    { metadata: { field: "pageToken" } },
  );
}
