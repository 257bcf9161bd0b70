/** What Connect says of requests that it cannot read, in devmesh's reasons. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { DevmeshError, invalidField } from "./devmesh-error.ts";

/**
 * The refusal of a request that was no message: it comes before a call of ours
 * begins, with a text and a code (sometimes `internal`) and nothing else.
 * Undefined: the error is another one.
 */
export function unreadRequest(error: ConnectError): DevmeshError | undefined {
  const text = error.rawMessage;
  const timeout =
    /^(?:protocol error: )?(?:invalid (connect|grpc) timeout value|timeout \d+ms)/.exec(text);
  if (timeout !== null) {
    const field = timeout[1] === "grpc" ? "grpc-timeout" : "connect-timeout-ms";
    return invalidField(field, "wants a time limit in the protocol's form");
  }
  if (error.code === Code.InvalidArgument && text.startsWith("cannot decode ")) {
    const field = fieldIn(text);
    if (field !== undefined) {
      return new DevmeshError("INVALID_FIELD", text, { metadata: { field }, cause: error });
    }
    return new DevmeshError("MALFORMED_BODY", text, { cause: error });
  }
  if (text.startsWith("unknown compression ")) {
    const metadata = { field: "Content-Encoding" };
    return new DevmeshError("UNSUPPORTED_MEDIA_TYPE", text, { metadata, cause: error });
  }
  if (isMalformed(text)) return new DevmeshError("MALFORMED_BODY", text, { cause: error });
  const limit = /^message(?: size(?: \d+)?)? is larger than configured readMaxBytes (\d+)/.exec(
    text,
  )?.[1];
  if (limit === undefined) return undefined;
  return new DevmeshError("TOO_LARGE", `the message is larger than ${limit} bytes`, {
    metadata: { limit_bytes: limit },
    cause: error,
  });
}

/** The field that the reader of JSON names, by its own name only. */
function fieldIn(text: string): string | undefined {
  const known = /^cannot decode (?:field|oneof) \S*?([A-Za-z0-9_]+) from JSON/.exec(text)?.[1];
  const other = /(?:key "(.*)" is unknown|duplicate object key "(.*)")$/s.exec(text);
  const name = known ?? other?.[1] ?? other?.[2];
  return name === "" ? '""' : name;
}

/** Bytes that are no message, and frames that are not whole. */
function isMalformed(text: string): boolean {
  return /^(parse binary: |protocol error: (incomplete|promised)|decompression failed|unexpected end flag|received compressed envelope)/.test(
    text,
  );
}
