/** Tells from a request's headers that somebody stands between caller and server. */

const names = [
  "x-forwarded-for",
  "forwarded",
  "via",
  "x-real-ip",
  "x-client-ip",
  "true-client-ip",
  "cf-connecting-ip",
];

/** True if a header says that a proxy passed the request on. */
export function isProxied(header: Pick<Headers, "has" | "keys">): boolean {
  if (names.some((name) => header.has(name))) return true;
  for (const name of header.keys()) if (name.startsWith("x-forwarded-")) return true;
  return false;
}
