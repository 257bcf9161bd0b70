/**
 * The only mapping point between DevmeshError and ConnectError, both ways.
 * Whatever is neither becomes INTERNAL with no text of its own.
 */
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { ViolationsSchema } from "@devmesh/gen/buf/validate/validate_pb";
import { ErrorInfoSchema, RetryInfoSchema } from "@devmesh/gen/google/rpc/error_details_pb";
import { redact } from "../log/redact.ts";
import { DevmeshError } from "./devmesh-error.ts";
import { noSpaceError } from "./no-space.ts";
import { codeOf, isReason, reasonOfCode } from "./reasons.ts";
import { unreadRequest } from "./unread-requests.ts";

/** The domain of devmesh's reasons in `google.rpc.ErrorInfo`. */
export const errorDomain = "devmesh.dev";

/** The wire form: code, ErrorInfo, and RetryInfo where a wait is known. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError && infoOf(error) !== undefined) return error;
  const known = toDevmeshError(error);
  const details: ConnectError["details"] = [
    {
      desc: ErrorInfoSchema,
      value: { reason: known.reason, domain: errorDomain, metadata: redacted(known.metadata) },
    },
  ];
  if (known.retryAfterMs !== undefined) {
    details.push({ desc: RetryInfoSchema, value: { retryDelay: toDuration(known.retryAfterMs) } });
  }
  const text = redact(known.message);
  const wire = new ConnectError(text, codeOf(known.reason), undefined, undefined, error);
  wire.details = details;
  return wire;
}

/** The domain form of anything thrown; unknown errors keep their text for the log only. */
export function toDevmeshError(error: unknown): DevmeshError {
  if (error instanceof DevmeshError) return error;
  if (error instanceof ConnectError) return fromConnectError(error);
  const name = error instanceof Error ? error.name : "";
  if (name === "AbortError") {
    return new DevmeshError("CANCELLED", "the call was cancelled", { cause: error });
  }
  if (name === "TimeoutError") {
    return new DevmeshError("DEADLINE_EXCEEDED", "the time limit was reached", { cause: error });
  }
  return noSpaceError(error) ?? internal(error);
}

/** Driver texts and stack traces are for the log. */
function internal(cause: unknown): DevmeshError {
  const text = "internal error; the log has the cause under the request id";
  return new DevmeshError("INTERNAL", text, { cause });
}

/** What devmesh says of an error on the wire, if it is one of devmesh's. */
function infoOf(error: ConnectError) {
  return error.findDetails(ErrorInfoSchema).find((info) => info.domain === errorDomain);
}

function fromConnectError(error: ConnectError): DevmeshError {
  const info = infoOf(error);
  if (info !== undefined && isReason(info.reason)) {
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    return new DevmeshError(info.reason, error.rawMessage, {
      metadata: info.metadata,
      cause: error,
      ...(delay && { retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1e6 }),
    });
  }
  const violation = error.findDetails(ViolationsSchema)[0]?.violations[0];
  if (violation !== undefined) {
    const field = violation.field?.elements.map((e) => e.fieldName).join(".") ?? "";
    return new DevmeshError("INVALID_FIELD", `${field}: ${violation.message}`, {
      metadata: { field },
      cause: error,
    });
  }
  const unread = unreadRequest(error);
  if (unread !== undefined) return unread;
  const reason = reasonOfCode(error.code);
  // grpc-js names addresses of the private network.
  if (error.cause !== undefined && reason === "UNAVAILABLE") {
    return new DevmeshError("UNAVAILABLE", "a service behind this one does not answer", {
      cause: error,
    });
  }
  // Connect wraps whatever was thrown, text and all.
  if (error.cause !== undefined && reason === "INTERNAL") {
    return noSpaceError(error.cause) ?? internal(error);
  }
  return new DevmeshError(reason, error.rawMessage, { cause: error });
}

/** A caller may have put a secret where an id belongs: nobody is told it again. */
function redacted(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, redact(value)]));
}

function toDuration(ms: number) {
  return create(DurationSchema, {
    seconds: BigInt(Math.floor(ms / 1000)),
    nanos: Math.floor((ms % 1000) * 1e6),
  });
}
