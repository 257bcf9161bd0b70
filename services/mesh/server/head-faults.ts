/** What a request's head may not have, though HTTP lets it through. */
import { maxHeaderSize } from "node:http";
import { DevmeshError, invalidField } from "../errors/index.ts";
import type { HttpRequest } from "./http-exchange.ts";

/** How large the headers of a request may be, in bytes: names and values. HTTP/1.1 is held to it by Node. */
const maxHeaderBytes = maxHeaderSize;

/** The refusal of headers that are larger. */
export function headersTooLarge(): DevmeshError {
  const text = `the request's headers are larger than ${maxHeaderBytes} bytes`;
  return new DevmeshError("HEADERS_TOO_LARGE", text, {
    metadata: { limit_bytes: String(maxHeaderBytes) },
  });
}

/**
 * The first fault of a request's head: headers that are too large, and a key
 * that comes more than once, of which nobody can say which is meant.
 */
export function headFault({ rawHeaders }: HttpRequest): DevmeshError | undefined {
  let bytes = 0;
  let keys = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    bytes += name.length + (rawHeaders[i + 1]?.length ?? 0);
    if (name.length === keyHeader.length && name.toLowerCase() === keyHeader) keys += 1;
  }
  if (bytes > maxHeaderBytes) return headersTooLarge();
  if (keys > 1) return invalidField("idempotencyKey", "the header Idempotency-Key came twice");
  return undefined;
}

const keyHeader = "idempotency-key";

/** Throws INVALID_FIELD for a request of HTTP/1.1 that does not name its host once. */
export function requireHost({ httpVersion, rawHeaders }: HttpRequest): void {
  if (httpVersion !== "1.1") return;
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === "host");
  if (hosts.length === 0) throw invalidField("Host", "is missing");
  if (hosts.length > 1) throw invalidField("Host", "came twice");
}
