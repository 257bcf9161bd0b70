/** Converts between headers and grpc-js's metadata; `-bin` values are base64 in headers. */
import { Metadata } from "@grpc/grpc-js";
import { CallHeaders } from "./call-headers.ts";

/** Throws for a name or a value that may not travel, for example one that is not ASCII. */
export function toMetadata(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of headers) {
    metadata.add(name, name.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  }
  return metadata;
}

/** The other way round; several values of one name are joined. */
export function toHeaders(metadata: Metadata | undefined): CallHeaders {
  const headers = new CallHeaders();
  if (metadata === undefined) return headers;
  const all = metadata.toJSON();
  for (const name in all) {
    for (const value of all[name] ?? []) {
      headers.append(name, typeof value === "string" ? value : base64(value));
    }
  }
  return headers;
}

/** As the protocol wants it: without padding. */
function base64(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}
