/**
 * Gives a reason to refusals that Connect makes itself, before a call of ours
 * begins: bytes that are no message, an odd time limit, a message too large.
 */
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import type { DescMessage, DescMethod, JsonValue } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  endStreamFlag,
  endStreamFromJson,
  endStreamToJson,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { DevmeshError, statusOf, toConnectError, toDevmeshError } from "../errors/index.ts";
import { isObject, unreadableField } from "../rest/unreadable-field.ts";
import { methodNotAllowed } from "./http-exchange.ts";

/** A request whose JSON is kept, so that a refusal can name the field in it. */
export interface KeptRequest {
  readonly request: UniversalServerRequest;
  /** What was read of the body, or of the message in the address; empty if nothing is kept. */
  read(): Uint8Array;
}

/**
 * Keeps what is read of a unary call's JSON. A body that breaks off is the
 * caller's end, not a failure of ours.
 */
export function keepJson(request: UniversalServerRequest): KeptRequest {
  if (request.method === "GET") {
    return { request, read: () => messageOfQuery(new URL(request.url).searchParams) };
  }
  const body = request.body as AsyncIterable<Uint8Array>;
  const isJson = /^application\/json\b/i.test(request.header.get("content-type") ?? "");
  const isKept = isJson && !request.header.has("content-encoding");
  const chunks: Uint8Array[] = [];
  const kept = async function* () {
    try {
      for await (const chunk of body) {
        if (isKept) chunks.push(chunk);
        yield chunk;
      }
    } catch (cause) {
      throw toConnectError(new DevmeshError("CANCELLED", "the caller went away", { cause }));
    }
  };
  return { request: { ...request, body: kept() }, read: () => Buffer.concat(chunks) };
}

function messageOfQuery(query: URLSearchParams): Uint8Array {
  const encoding = query.get("base64") === "1" ? "base64url" : "utf8";
  return Buffer.from(query.get("message") ?? "", encoding);
}

/** The call that an answer is to. */
export interface RefusedCall {
  readonly input: DescMessage;
  readonly kept: KeptRequest;
  /** The id that the request goes by where no chain has named it. */
  readonly requestId: string;
}

/** The answer, with a reason and the request's id in the refusal that it may be. */
export async function withReason(
  answer: UniversalServerResponse,
  call: RefusedCall,
): Promise<UniversalServerResponse> {
  const type = answer.header?.get("content-type") ?? "";
  if (answer.status >= 400 && type.startsWith("application/json")) {
    return unaryRefusal(answer, call);
  }
  const { body, trailer } = answer;
  const { requestId } = call;
  if (body === undefined) return answer;
  if (type.startsWith("application/connect+")) {
    const change = (content: Uint8Array) => endOfStream(content, requestId);
    return { ...answer, body: mapLast(body, endStreamFlag, change) };
  }
  if (type.startsWith("application/grpc-web")) {
    const change = (content: Uint8Array) => webTrailer(content, requestId);
    return { ...answer, body: mapLast(body, trailerFlag, change) };
  }
  if (trailer === undefined) return answer;
  return { ...answer, body: thenName(body, trailer, requestId), trailer };
}

/**
 * The refusal that a bare status stands for: of a method or a type of content
 * that no protocol has. Undefined: the answer says more.
 */
export function bareRefusal(
  { status, header, body }: UniversalServerResponse,
  { idempotency, methodKind }: DescMethod,
  asked: { readonly verb: string; readonly type: string | null },
): DevmeshError | undefined {
  if (status < 400 || body !== undefined || header?.has("content-type")) return undefined;
  if (status === 405) {
    const isRead = idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
    return methodNotAllowed(
      "a call",
      isRead && methodKind === "unary" ? ["GET", "POST"] : ["POST"],
    );
  }
  if (status === 415 && asked.verb === "GET") {
    return new DevmeshError("UNSUPPORTED_MEDIA_TYPE", "encoding: wants json or proto", {
      metadata: { field: "encoding" },
    });
  }
  if (status === 415) {
    const { type } = asked;
    const forms = methodKind === "unary" ? "application/json" : "application/connect+json";
    const what = type === null ? "is missing" : `${JSON.stringify(type)} is not taken`;
    const text = `Content-Type: ${what}: a call wants ${forms}, its protobuf form, or gRPC's`;
    return new DevmeshError("UNSUPPORTED_MEDIA_TYPE", text, {
      metadata: { field: "Content-Type" },
    });
  }
  return new DevmeshError(
    "MALFORMED_REQUEST",
    `the call cannot be taken by this way in (${status})`,
  );
}

async function unaryRefusal(
  answer: UniversalServerResponse,
  { input, kept, requestId }: RefusedCall,
): Promise<UniversalServerResponse> {
  const header = new Headers(answer.header);
  if (!header.has("x-request-id")) header.set("x-request-id", requestId);
  const sent = unpacked(await bytesOf(answer.body), header.get("content-encoding"));
  const found = errorFromJsonBytes(sent, new Headers(), new ConnectError("", Code.Internal));
  const error = toConnectError(atField(found, input, kept));
  const body = errorToJsonBytes(error, undefined);
  header.delete("content-encoding");
  header.set("content-length", String(body.byteLength));
  const { reason } = toDevmeshError(error);
  const isForm = reason === "UNSUPPORTED_MEDIA_TYPE";
  // It is the request that must change, where the code says that it is the server.
  const status = isForm ? statusOf(reason) : codeToHttpStatus(error.code);
  return { ...answer, status, header, body: once(body) };
}

/** The refusal of JSON with the whole path of the field: Connect names at best the last part. */
function atField(error: ConnectError, input: DescMessage, kept: KeptRequest): unknown {
  const { reason, message, metadata } = toDevmeshError(error);
  const isUnread = error.rawMessage.startsWith("cannot decode ");
  if (!isUnread || !(reason === "INVALID_FIELD" || reason === "MALFORMED_BODY")) return error;
  const json = jsonOf(kept.read());
  const path = isObject(json) ? unreadableField(input, json) : undefined;
  const field = path ?? metadata.field;
  if (field === undefined) return error;
  return new DevmeshError("INVALID_FIELD", message, { metadata: { field }, cause: error });
}

function jsonOf(bytes: Uint8Array): JsonValue | undefined {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as JsonValue;
  } catch {
    // It is no JSON: then no field is to blame.
    return undefined;
  }
}

/** Answers that are long enough are packed, refusals among them. */
function unpacked(bytes: Uint8Array, encoding: string | null): Uint8Array {
  if (encoding === "gzip") return gunzipSync(bytes);
  return encoding === "br" ? brotliDecompressSync(bytes) : bytes;
}

/** Changes the content of the envelope with this flag; one that is packed stays as it is. */
async function* mapLast(
  body: AsyncIterable<Uint8Array>,
  flag: number,
  change: (content: Uint8Array) => Uint8Array | undefined,
): AsyncIterable<Uint8Array> {
  for await (const chunk of body) {
    const changed = chunk[0] === flag ? change(chunk.subarray(5)) : undefined;
    yield changed === undefined ? chunk : envelope(flag, changed);
  }
}

function endOfStream(content: Uint8Array, requestId: string): Uint8Array | undefined {
  const { error, metadata } = endStreamFromJson(content);
  const named = error && toConnectError(error);
  if (named === undefined || named === error) return undefined;
  metadata.set("x-request-id", requestId);
  return Buffer.from(JSON.stringify(endStreamToJson(metadata, named, undefined)));
}

function webTrailer(content: Uint8Array, requestId: string): Uint8Array | undefined {
  const trailer = trailerParse(content);
  return nameTrailer(trailer, requestId) ? trailerSerialize(trailer) : undefined;
}

/** The trailer is whole when the body has ended, and sent after that. */
async function* thenName(
  body: AsyncIterable<Uint8Array>,
  trailer: Headers,
  requestId: string,
): AsyncIterable<Uint8Array> {
  yield* body;
  nameTrailer(trailer, requestId);
}

/** Names the reason in gRPC's trailer; false if there is one, or no failure. */
function nameTrailer(trailer: Headers, requestId: string): boolean {
  const status = Number(trailer.get("grpc-status"));
  if (status === 0 || trailer.has("grpc-status-details-bin")) return false;
  const message = decodeURIComponent(trailer.get("grpc-message") ?? "");
  setTrailerStatus(trailer, toConnectError(new ConnectError(message, status)));
  trailer.set("x-request-id", requestId);
  return true;
}

function envelope(flag: number, content: Uint8Array): Uint8Array {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(content.length, 1);
  return Buffer.concat([head, content]);
}

async function bytesOf(body: AsyncIterable<Uint8Array> | undefined): Promise<Uint8Array> {
  return body === undefined ? new Uint8Array() : Buffer.concat(await Array.fromAsync(body));
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
