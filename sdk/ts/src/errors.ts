/**
 * Owns the one error class of the SDK and the only mapping into it. Which
 * calls are tried again is left to `retry.ts` and `job-stream.ts`.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorReason } from "./gen/devmesh/errors/v1/reason_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

export { Code };

/** Why a call was refused: a name of `devmesh.errors.v1.ErrorReason` without its prefix. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** The domain of devmesh's reasons in `google.rpc.ErrorInfo`. */
export const errorDomain = "devmesh.dev";

/** The reasons under which the same call may succeed later without a change. */
const retryableReasons: ReadonlySet<Reason> = new Set<Reason>([
  "RATE_LIMITED",
  "PROVIDER_UNAVAILABLE",
  "PROVIDER_PROTOCOL",
  "UNAVAILABLE",
  "REQUEST_TIMEOUT",
  "DEADLINE_EXCEEDED",
  "DRAINING",
]);

/** What a `DevmeshApiError` carries besides its message. */
export interface DevmeshApiErrorFacts {
  readonly reason: Reason;
  readonly code: Code;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly requestId?: string;
  readonly retryAfterMs?: number;
  readonly fromServer?: boolean;
  readonly cause?: unknown;
}

/** A call that the server refused, or that did not reach it. */
export class DevmeshApiError extends Error {
  override readonly name = "DevmeshApiError";
  /** The reason, for programs. */
  readonly reason: Reason;
  /** The Connect code that goes with it. */
  readonly code: Code;
  /** Facts for programs, for example `{ field: "argv" }`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The request's id in the server's log. Empty where the server was not reached. */
  readonly requestId: string;
  /** True if the same call may succeed later without a change. */
  readonly retryable: boolean;
  /** When to try again, in milliseconds. Undefined where the server did not say. */
  readonly retryAfterMs: number | undefined;
  /** True if the server itself named the reason; false for broken connections. */
  readonly fromServer: boolean;

  /** `message` is for people: the cause and, where there is one, the remedy. */
  constructor(message: string, facts: DevmeshApiErrorFacts) {
    super(message, { cause: facts.cause });
    this.reason = facts.reason;
    this.code = facts.code;
    this.metadata = facts.metadata ?? {};
    this.requestId = facts.requestId ?? "";
    this.retryable = retryableReasons.has(facts.reason);
    this.retryAfterMs = facts.retryAfterMs;
    this.fromServer = facts.fromServer ?? false;
  }
}

/** A setting with which the SDK refuses to work, for example a token over plain HTTP. */
export class DevmeshConfigError extends Error {
  override readonly name = "DevmeshConfigError";
}

/** The one way from anything thrown by a transport to a `DevmeshApiError`. */
export function fromConnect(error: unknown): DevmeshApiError {
  if (error instanceof DevmeshApiError) return error;
  const wire = ConnectError.from(error);
  const facts = {
    // A failed stream carries it in its head and again at its end.
    requestId: wire.metadata.get("x-request-id")?.split(", ")[0] ?? "",
    retryAfterMs: retryAfterOf(wire),
    cause: error,
  };
  const info = wire.findDetails(ErrorInfoSchema).find((detail) => detail.domain === errorDomain);
  if (info !== undefined) {
    // A newer server may know more reasons; its name is passed on as it is.
    const reason = info.reason as Reason;
    const { metadata } = info;
    return new DevmeshApiError(wire.rawMessage, {
      ...definedOnly(facts),
      reason,
      code: wire.code,
      metadata,
      fromServer: true,
    });
  }
  if (isBrokenConnection(wire)) {
    return new DevmeshApiError(`the server could not be reached: ${causeText(wire)}`, {
      ...definedOnly(facts),
      reason: "UNAVAILABLE",
      code: Code.Unavailable,
    });
  }
  return new DevmeshApiError(wire.rawMessage, {
    ...definedOnly(facts),
    reason: reasonOfCode(wire.code),
    code: wire.code,
  });
}

/** Optional facts must be absent, not undefined, for exact optional types. */
function definedOnly(facts: {
  requestId: string;
  retryAfterMs: number | undefined;
  cause: unknown;
}) {
  const { retryAfterMs, ...rest } = facts;
  return retryAfterMs === undefined ? rest : { ...rest, retryAfterMs };
}

function retryAfterOf(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay !== undefined) return Number(delay.seconds) * 1000 + delay.nanos / 1e6;
  const header = error.metadata.get("retry-after");
  if (header === null) return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** Transports report a broken connection under several codes; none has a detail. */
function isBrokenConnection(error: ConnectError): boolean {
  const { cause, code } = error;
  // connect-node tells a lost HTTP/2 connection by the stream's reset code; a
  // caller's own abort comes with the abort's reason instead.
  if (error.rawMessage.startsWith("http/2 stream closed with error code")) return true;
  if (code === Code.Unknown) {
    // `fetch` and the transport over it throw a TypeError.
    return cause instanceof TypeError || hasErrno(cause);
  }
  return code === Code.Unavailable || (code !== Code.Canceled && hasErrno(cause));
}

function hasErrno(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  const code: unknown = "code" in cause ? cause.code : undefined;
  return typeof code === "string" && /^(E[A-Z]{3,}|ERR_HTTP2|UND_ERR)/.test(code);
}

function causeText(error: ConnectError): string {
  const inner = error.cause instanceof Error ? error.cause.cause : undefined;
  if (inner instanceof Error && inner.message !== "") return inner.message;
  return error.rawMessage;
}

/** The reason that stands for a bare code, where the server named none. */
function reasonOfCode(code: Code): Reason {
  switch (code) {
    case Code.InvalidArgument:
      return "INVALID_FIELD";
    case Code.OutOfRange:
      return "SEQUENCE_GAP";
    case Code.Unauthenticated:
      return "UNAUTHENTICATED";
    case Code.PermissionDenied:
      return "SCOPE_MISSING";
    case Code.NotFound:
      return "NOT_FOUND";
    case Code.AlreadyExists:
      return "ALREADY_EXISTS";
    case Code.FailedPrecondition:
      return "WRONG_STATE";
    case Code.Aborted:
      return "FENCED";
    case Code.ResourceExhausted:
      return "RATE_LIMITED";
    case Code.DeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case Code.Canceled:
      return "CANCELLED";
    case Code.Unimplemented:
      return "UNIMPLEMENTED";
    case Code.Unavailable:
      return "UNAVAILABLE";
    case Code.Internal:
    case Code.Unknown:
    case Code.DataLoss:
      return "INTERNAL";
  }
}
