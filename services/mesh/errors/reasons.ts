/**
 * Owns the one table from an error's reason to its gRPC code and HTTP status.
 * `docs/errors.md` shows the same table; a test holds them together.
 */
import { Code } from "@connectrpc/connect";
import type { ErrorReason } from "@devmesh/gen/devmesh/errors/v1/reason_pb";

/** A reason's name as it travels: the enum value's name without its prefix. */
export type Reason = Exclude<
  {
    [K in keyof typeof ErrorReason]: K;
  }[keyof typeof ErrorReason],
  "UNSPECIFIED"
>;

interface ReasonRow {
  readonly code: Code;
  readonly status: number;
  /** True if the same call may succeed later without a change. */
  readonly retryable: boolean;
}

const row = (code: Code, status: number, retryable = false): ReasonRow => ({
  code,
  status,
  retryable,
});

const table: Record<Reason, ReasonRow> = {
  INVALID_FIELD: row(Code.InvalidArgument, 400),
  MALFORMED_BODY: row(Code.InvalidArgument, 400),
  TOO_LARGE: row(Code.ResourceExhausted, 413),
  INVALID_PAGE_TOKEN: row(Code.InvalidArgument, 400),
  MALFORMED_REQUEST: row(Code.InvalidArgument, 400),
  HEADERS_TOO_LARGE: row(Code.ResourceExhausted, 431),
  UNSUPPORTED_MEDIA_TYPE: row(Code.Unimplemented, 415),
  REQUEST_TIMEOUT: row(Code.Canceled, 408, true),
  UPGRADE_REQUIRED: row(Code.Unimplemented, 426),
  UNAUTHENTICATED: row(Code.Unauthenticated, 401),
  SCOPE_MISSING: row(Code.PermissionDenied, 403),
  ORIGIN_REFUSED: row(Code.PermissionDenied, 403),
  NOT_FOUND: row(Code.NotFound, 404),
  NO_SUCH_ROUTE: row(Code.Unimplemented, 404),
  METHOD_NOT_ALLOWED: row(Code.Unimplemented, 405),
  ALREADY_EXISTS: row(Code.AlreadyExists, 409),
  KEY_REUSED: row(Code.AlreadyExists, 409),
  WRONG_STATE: row(Code.FailedPrecondition, 409),
  FENCED: row(Code.Aborted, 409),
  SEQUENCE_GAP: row(Code.OutOfRange, 409),
  RATE_LIMITED: row(Code.ResourceExhausted, 429, true),
  BUDGET_EXCEEDED: row(Code.ResourceExhausted, 429),
  POLICY_REFUSED: row(Code.FailedPrecondition, 403),
  MODEL_NOT_FOUND: row(Code.NotFound, 404),
  CONTEXT_LENGTH: row(Code.InvalidArgument, 400),
  CONTENT_FILTERED: row(Code.FailedPrecondition, 422),
  PROVIDER_UNAVAILABLE: row(Code.Unavailable, 503, true),
  PROVIDER_PROTOCOL: row(Code.Unavailable, 502, true),
  NO_EMBEDDER: row(Code.FailedPrecondition, 412),
  DIMENSION_MISMATCH: row(Code.FailedPrecondition, 409),
  ISOLATION_UNAVAILABLE: row(Code.FailedPrecondition, 412),
  SANDBOX_FAILED: row(Code.Internal, 500),
  COMMAND_NOT_FOUND: row(Code.InvalidArgument, 400),
  WORKSPACE_INVALID: row(Code.InvalidArgument, 400),
  RECEIPT_MISMATCH: row(Code.FailedPrecondition, 500),
  EGRESS_REFUSED: row(Code.PermissionDenied, 403),
  UNAVAILABLE: row(Code.Unavailable, 503, true),
  DEADLINE_EXCEEDED: row(Code.DeadlineExceeded, 504, true),
  CANCELLED: row(Code.Canceled, 499),
  FEATURE_DISABLED: row(Code.FailedPrecondition, 412),
  DRAINING: row(Code.Unavailable, 503, true),
  STORE_TOO_NEW: row(Code.FailedPrecondition, 412),
  CONFIG_INVALID: row(Code.FailedPrecondition, 412),
  UNIMPLEMENTED: row(Code.Unimplemented, 501),
  INTERNAL: row(Code.Internal, 500),
};

/** All reasons there are, in the order of the proto. */
export const reasons = Object.keys(table) as Reason[];

/** The gRPC code of a reason. */
export function codeOf(reason: Reason): Code {
  return table[reason].code;
}

/** The HTTP status of a reason. */
export function statusOf(reason: Reason): number {
  return table[reason].status;
}

/** True if the same call may succeed later without a change. */
export function isRetryable(reason: Reason): boolean {
  return table[reason].retryable;
}

/** True if the text names a reason. */
export function isReason(name: string): name is Reason {
  return Object.hasOwn(table, name);
}

/** The reason that stands for a bare gRPC code, where the peer named none. */
export function reasonOfCode(code: Code): Reason {
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
