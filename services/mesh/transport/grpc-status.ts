/** Converts between ConnectErrors and gRPC status with `grpc-status-details-bin`. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Code, ConnectError } from "@connectrpc/connect";
import { type Status, StatusSchema } from "@devmesh/gen/google/rpc/status_pb";
import { Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { toConnectError } from "../errors/index.ts";
import { toHeaders } from "./metadata.ts";

const detailsKey = "grpc-status-details-bin";

/** The status a grpc-js server sends for a thrown error. */
export function toGrpcStatus(thrown: unknown): StatusObject {
  const error = toConnectError(thrown);
  const metadata = new Metadata();
  for (const [key, value] of error.metadata) metadata.set(key, value);
  if (error.details.length > 0) {
    const status = create(StatusSchema, { code: error.code, message: error.rawMessage });
    for (const detail of error.details) {
      if ("desc" in detail) {
        status.details.push({
          $typeName: "google.protobuf.Any",
          typeUrl: `type.googleapis.com/${detail.desc.typeName}`,
          value: toBinary(detail.desc, create(detail.desc, detail.value)),
        });
      } else {
        status.details.push({
          $typeName: "google.protobuf.Any",
          typeUrl: `type.googleapis.com/${detail.type}`,
          value: detail.value,
        });
      }
    }
    metadata.set(detailsKey, Buffer.from(toBinary(StatusSchema, status)));
  }
  return { code: error.code as number, details: error.rawMessage, metadata };
}

/** The ConnectError that the error of a grpc-js client means. */
export function fromGrpcError(error: ServiceError): ConnectError {
  return fromGrpcStatus(error, error);
}

/** The ConnectError that a status other than OK means. */
export function fromGrpcStatus(
  error: Pick<StatusObject, "code" | "details"> & Partial<Pick<StatusObject, "metadata">>,
  cause: unknown = new Error(`${error.code} ${error.details}`),
): ConnectError {
  const [details] = error.metadata?.get(detailsKey) ?? [];
  const header = toHeaders(error.metadata);
  header.delete(detailsKey);
  const wire = new ConnectError(
    decodeMessage(error.details),
    error.code as number as Code,
    [...header],
    undefined,
    cause,
  );
  const status = details instanceof Buffer ? decodeStatus(details) : undefined;
  if (status !== undefined) {
    wire.details = status.details.map((any) => ({
      type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1),
      value: any.value,
    }));
  }
  return wire;
}

function decodeStatus(bytes: Uint8Array): Status | undefined {
  try {
    return fromBinary(StatusSchema, bytes);
  } catch {
    // A peer's malformed details cost the details, not the error.
    return undefined;
  }
}

/** grpc-js undoes only a part of what the protocol percent-encodes. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A bare percent sign: the text was not encoded.
    return text;
  }
}
