/** Says what is wrong with an answer: nothing may break, and a refusal names its field. */
import { fromBinary } from "@bufbuild/protobuf";
import { ErrorInfoSchema } from "@devmesh/gen/google/rpc/error_details_pb";
import { StatusSchema } from "@devmesh/gen/google/rpc/status_pb";
import type { Answer } from "./answer.ts";
import type { Request } from "./cases.ts";

/** What became of a request, and what is wrong with that. */
export interface Verdict {
  /** `ok`, the reason of a refusal, or the HTTP status that says all. */
  readonly outcome: string;
  /** The field that a refusal names, or empty. */
  readonly field: string;
  /** What must not be; empty if all is well. */
  readonly faults: readonly string[];
}

/** Failures of parts behind the backend, and what is not there: refusals that servers may give. */
const honest = new Set(["UNIMPLEMENTED", "PROVIDER_UNAVAILABLE", "PROVIDER_PROTOCOL"]);

/** Judges an answer. `secrets` may stand in none. */
export function judge(request: Request, answer: Answer, secrets: readonly string[]): Verdict {
  if (answer.kind === "late") return { outcome: "late", field: "", faults: ["no answer in time"] };
  if (answer.kind === "closed") {
    const faults = request.broken ? [] : [`the connection was closed: ${answer.detail}`];
    return { outcome: "closed", field: "", faults };
  }
  const said = refusalOf(request, answer);
  const text = answer.body.toString("latin1");
  const faults = secrets
    .filter((secret) => text.includes(secret))
    .map((secret) => `the body has ${JSON.stringify(secret)} in it`);
  if (said === undefined) {
    return { outcome: answer.status < 400 ? "ok" : `${answer.status}`, field: "", faults };
  }
  const { reason, field, isBroken } = said;
  const timed = request.headers.some(([name]) => /timeout/.test(name));
  const isHonest = honest.has(reason) || (reason === "DEADLINE_EXCEEDED" && timed);
  if (isBroken && !isHonest) faults.push(`broke: ${answer.status} ${reason} ${said.detail}`);
  if (reason === "INVALID_FIELD" && field === "") faults.push(`names no field: ${said.detail}`);
  if (reason === "") faults.push(`names no reason: ${answer.status} ${said.detail}`);
  return { outcome: reason === "" ? `${answer.status}` : reason, field, faults };
}

/** A refusal. */
interface Refusal {
  readonly reason: string;
  readonly field: string;
  readonly detail: string;
  /** True: by its status or code something broke. */
  readonly isBroken: boolean;
}

type Got = Answer & { readonly kind: "answer" };

function refusalOf(request: Request, answer: Got): Refusal | undefined {
  const { status, headers, body } = answer;
  const type = headers.get("content-type") ?? "";
  if (type.startsWith("application/problem+json")) return problemOf(body, status);
  const isJson = type.startsWith("application/json");
  // Half an answer tells no more than its status.
  if (isJson && (answer.cut || request.broken) && !isWhole(body)) return undefined;
  if (request.shape === "openai" && status >= 400 && isJson) return openAiErrorOf(body, status);
  if (request.shape === "ws" && status === 101) return closeOf(body);
  if (type.startsWith("application/grpc")) return grpcErrorOf(answer);
  if (type.startsWith("application/connect+")) return endOfStream(body);
  if (status >= 400 && type.startsWith("application/json"))
    return connectErrorOf(json(body), status);
  if (request.shape === "rest" && status === 200) return eventErrorOf(body);
  if (status < 400) return undefined;
  // Bare statuses are HTTP's own: a type that is not spoken, a request that is none.
  const isPlain = [400, 401, 404, 405, 408, 413, 415, 426, 431, 501, 505].includes(status);
  if (isPlain && body.length < 500) return undefined;
  const detail = body.toString("latin1").slice(0, 300);
  return { reason: "", field: "", detail, isBroken: status >= 500 };
}

interface Problem {
  readonly reason?: string;
  readonly status?: number;
  readonly detail?: string;
  readonly metadata?: Record<string, string>;
}

function problemOf(body: Buffer, status: number): Refusal {
  // An answer to HEAD has no body: 501 alone says that there is no such method.
  const isUnknown = status >= 500 && status !== 501;
  if (body.length === 0) return { reason: "HEAD", field: "", detail: "", isBroken: isUnknown };
  const { reason = "", detail = "", metadata = {}, status: said } = json(body) as Problem;
  const isBroken = status >= 500 || said !== status;
  return { reason, field: metadata.field ?? "", detail, isBroken };
}

function eventErrorOf(body: Buffer): Refusal | undefined {
  const found = /^event: error\ndata: (.*)$/m.exec(body.toString())?.[1];
  if (found === undefined) return undefined;
  const { status = 0 } = JSON.parse(found) as Problem;
  return problemOf(Buffer.from(found), status);
}

function openAiErrorOf(body: Buffer, status: number): Refusal | undefined {
  const { error } = json(body) as { error?: { code?: string; param?: string; message?: string } };
  if (error === undefined) return status === 404 ? undefined : connectErrorOf({}, status);
  const reason = (error.code ?? "").toUpperCase();
  return {
    reason,
    field: error.param ?? "",
    detail: error.message ?? "",
    isBroken: status >= 500,
  };
}

interface ConnectError {
  readonly code?: string;
  readonly message?: string;
  readonly details?: { readonly type: string; readonly value: string }[];
}

const brokenCodes = ["internal", "unknown", "data_loss", "unavailable", "deadline_exceeded"];

function connectErrorOf(error: ConnectError, status: number): Refusal {
  const { code = "", message = "", details = [] } = error;
  const info = details.find(({ type }) => type === ErrorInfoSchema.typeName);
  const bytes = Buffer.from(info?.value ?? "", "base64");
  const isBroken = status >= 500 || brokenCodes.includes(code);
  return { ...infoOf(info && bytes), detail: `${code}: ${message}`, isBroken };
}

/** The error in the last envelope of a Connect stream. */
function endOfStream(body: Buffer): Refusal | undefined {
  for (const [flags, data] of frames(body)) {
    if ((flags & 2) === 0) continue;
    const { error } = json(data) as { error?: ConnectError };
    return error && connectErrorOf(error, 200);
  }
  return undefined;
}

const brokenStatuses = [2, 4, 13, 14, 15];

function grpcErrorOf({ headers, body, cut, status: http }: Got): Refusal | undefined {
  const trailers = new Map(headers);
  for (const [flags, data] of frames(body)) {
    if ((flags & 0x80) === 0) continue;
    for (const line of data.toString().split("\r\n")) {
      const at = line.indexOf(":");
      trailers.set(line.slice(0, at), line.slice(at + 1).trim());
    }
  }
  const status = trailers.get("grpc-status");
  if (status === "0" || (status === undefined && cut)) return undefined;
  const detail = `grpc-status ${status}: ${trailers.get("grpc-message")} (HTTP ${http})`;
  const details = trailers.get("grpc-status-details-bin");
  const isBroken = status === undefined || brokenStatuses.includes(Number(status));
  if (details === undefined) return { reason: "", field: "", detail, isBroken };
  const found = fromBinary(StatusSchema, Buffer.from(details, "base64")).details;
  const info = found.find(({ typeUrl }) => typeUrl.endsWith(ErrorInfoSchema.typeName));
  return { ...infoOf(info?.value), detail, isBroken };
}

function infoOf(bytes: Uint8Array | undefined): { reason: string; field: string } {
  if (bytes === undefined) return { reason: "", field: "" };
  const { reason, metadata } = fromBinary(ErrorInfoSchema, bytes);
  return { reason, field: metadata.field ?? "" };
}

/** What a WebSocket says first: a frame of JSON, or the code that it closes with. */
function closeOf(body: Buffer): Refusal | undefined {
  const opcode = (body[0] ?? 0) & 0x0f;
  const long = body[1] === 126 ? 4 : 2;
  if (opcode === 8) {
    const code = body.length >= 4 ? body.readUInt16BE(2) : 1005;
    const detail = `closed with ${code}`;
    return { reason: `WS_${code}`, field: "", detail, isBroken: code === 1011 };
  }
  const text = body.subarray(long).toString("utf8");
  if (!text.startsWith('{"type":"error"')) return undefined;
  const status = Number(/"status":(\d+)/.exec(text)?.[1]);
  const reason = /"reason":"(\w+)"/.exec(text)?.[1] ?? "";
  const field = /"field":"([^"]*)"/.exec(text)?.[1] ?? "";
  return { reason, field, detail: text.slice(0, 300), isBroken: status >= 500 };
}

function* frames(body: Buffer): Generator<readonly [number, Buffer]> {
  for (let at = 0; at + 5 <= body.length; ) {
    const length = body.readUInt32BE(at + 1);
    yield [body.readUInt8(at), body.subarray(at + 5, at + 5 + length)];
    at += 5 + length;
  }
}

function isWhole(body: Buffer): boolean {
  return body.length > 0 && Object.keys(json(body)).length > 0;
}

function json(body: Buffer): object {
  try {
    return JSON.parse(body.toString()) as object;
  } catch {
    // What is no JSON names no reason, and is judged by that.
    return {};
  }
}
