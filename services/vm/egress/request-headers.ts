/** Headers on their way through the proxy: framing and hops are the proxy's own, secrets are put in here. */
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { SecretHeader } from "./egress-policy.ts";
import { veilText } from "./secret-veil.ts";

/** Belong to one connection, and end with it. */
const hopByHop: ReadonlySet<string> = new Set([
  ...["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"],
  ...["te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "expect"],
]);

/** Why a request's framing can be read in two ways; empty if it cannot. */
export function framingFault(req: IncomingMessage): string {
  const count = (name: string) =>
    req.rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length;
  const { "transfer-encoding": coding, "content-length": length } = req.headers;
  if (count("host") > 1) return "it has more than one Host";
  if (count("content-length") > 1 || count("transfer-encoding") > 1)
    return "its length is told twice";
  if (coding !== undefined && length !== undefined) return "its length is told in two ways";
  if (coding !== undefined && coding.trim().toLowerCase() !== "chunked") {
    return "its transfer coding is not chunked alone";
  }
  if (length !== undefined && !/^\d{1,15}$/.test(length)) return "its length is no number";
  return "";
}

/** What goes out with a request: all of the sandbox's headers but those of the hop, then the secrets. */
export function outgoingHeaders(
  req: IncomingMessage,
  hostHeader: string,
  secrets: readonly SecretHeader[],
): OutgoingHttpHeaders {
  const headers = endToEnd(req.rawHeaders, req.headers.connection);
  headers.host = hostHeader;
  for (const { name, value } of secrets) headers[name] = value;
  // An answer that is compressed could not be looked through for an echo.
  if (secrets.length > 0) headers["accept-encoding"] = "identity";
  return headers;
}

/** What comes back to the sandbox. */
export function incomingHeaders(
  answer: { readonly rawHeaders: readonly string[]; readonly headers: IncomingHttpHeaders },
  secrets: readonly SecretHeader[],
): OutgoingHttpHeaders {
  const headers = endToEnd(answer.rawHeaders, answer.headers.connection);
  // There is no other way to the host than this one.
  delete headers["alt-svc"];
  const values = secrets.map(({ secret }) => secret);
  if (values.length === 0) return headers;
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value)
        ? value.map((text) => veilText(text, values))
        : veilText(String(value), values),
    ]),
  );
}

function endToEnd(raw: readonly string[], connection: string | undefined): OutgoingHttpHeaders {
  const named = (connection ?? "").split(",").map((name) => name.trim().toLowerCase());
  const headers: Record<string, string | string[]> = Object.create(null);
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]?.toLowerCase() ?? "";
    const value = raw[at + 1] ?? "";
    if (hopByHop.has(name) || (named.includes(name) && name !== "content-length")) continue;
    const known = headers[name];
    if (known === undefined) headers[name] = value;
    else headers[name] = Array.isArray(known) ? [...known, value] : [known, value];
  }
  return headers;
}
