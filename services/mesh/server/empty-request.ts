/**
 * The smallest whole request of a Connect, gRPC or gRPC-Web call: stands in for
 * one that is refused whatever it says, so that its body is never read.
 */
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";

/** What would tell how to read a body that is not there. */
const bodyHeaders = [
  "content-encoding",
  "content-length",
  "connect-content-encoding",
  "grpc-encoding",
];

/** The same call with an empty message. */
export function withoutBody(request: UniversalServerRequest): UniversalServerRequest {
  const header = new Headers(request.header);
  for (const name of bodyHeaders) header.delete(name);
  if (request.method === "GET") return { ...request, header, url: emptyGet(request.url) };
  const type = header.get("content-type")?.toLowerCase() ?? "";
  const message = new TextEncoder().encode(type.includes("json") ? "{}" : "");
  const isUnary = /^application\/(json|proto)\b/.test(type);
  return { ...request, header, body: once(isUnary ? message : enveloped(message)) };
}

/** A Connect call by GET has its message in the query. */
function emptyGet(url: string): string {
  const target = new URL(url);
  const isJson = target.searchParams.get("encoding") !== "proto";
  for (const name of ["base64", "compression"]) target.searchParams.delete(name);
  target.searchParams.set("message", isJson ? "{}" : "");
  return target.toString();
}

/** Five bytes say: not compressed, and how long. */
function enveloped(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, 5);
  return bytes;
}

async function* once(bytes: Uint8Array) {
  yield bytes;
}
