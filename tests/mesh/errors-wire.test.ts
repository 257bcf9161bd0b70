import { Code, ConnectError } from "@connectrpc/connect";
import { ViolationsSchema } from "@devmesh/gen/buf/validate/validate_pb";
import { DevmeshError, reasons, toConnectError, toDevmeshError } from "@devmesh/mesh/errors";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import fc from "fast-check";
import { fromGrpcError, toGrpcStatus } from "../../services/mesh/transport/grpc-status.ts";

const detailsKey = "grpc-status-details-bin";

/** What a gRPC client makes of what a server throws. */
function overTheWire(thrown: unknown): DevmeshError {
  return toDevmeshError(fromGrpcError(serviceError(thrown)));
}

function serviceError(thrown: unknown): ServiceError {
  const { code, details, metadata } = toGrpcStatus(thrown);
  return Object.assign(new Error(`${code} ${details}`), { code, details, metadata });
}

describe("errors over the wire", () => {
  it("keep reason, metadata and wait in binary details, for every reason", () => {
    for (const reason of reasons) {
      const metadata = { field: "a.b", text: "not ASCII: ü" };
      const got = overTheWire(new DevmeshError(reason, "no", { metadata, retryAfterMs: 1_250 }));
      expect(got).to.include({ reason, message: "no", retryAfterMs: 1_250 });
      expect({ ...got.metadata }, reason).to.deep.equal(metadata);
    }
  });

  it("keep any wait of whole milliseconds, and none where none is known", () => {
    fc.assert(
      fc.property(fc.option(fc.nat(1e9), { nil: undefined }), (retryAfterMs) => {
        const options = retryAfterMs === undefined ? {} : { retryAfterMs };
        const got = overTheWire(new DevmeshError("RATE_LIMITED", "later", options));
        expect(got.retryAfterMs).to.equal(retryAfterMs);
      }),
    );
  });

  it("survive any number of hops unchanged", () => {
    const first = new DevmeshError("FENCED", "epoch 3 is over", { metadata: { epoch: "3" } });
    const got = overTheWire(overTheWire(fromGrpcError(serviceError(first))));
    expect(got).to.include({ reason: "FENCED", message: "epoch 3 is over" });
    expect({ ...got.metadata }).to.deep.equal({ epoch: "3" });
  });

  it("hide the text of what was never meant for a caller", () => {
    const got = overTheWire(new Error('relation "jobs" does not exist'));
    expect(got.reason).to.equal("INTERNAL");
    expect(got.message).to.not.include("jobs");
  });

  it("never carry the cause", () => {
    const cause = new Error("password hunter2");
    const { details, metadata } = toGrpcStatus(new DevmeshError("UNAVAILABLE", "down", { cause }));
    const [bytes] = metadata?.get(detailsKey) ?? [];
    expect(`${details} ${bytes}`).to.not.include("hunter2");
  });

  it("cost a peer's malformed details, not the error", () => {
    const error = serviceError(new DevmeshError("NOT_FOUND", "no such job"));
    const metadata = new Metadata();
    metadata.set(detailsKey, Buffer.from([0xff, 0xff, 0xff]));
    const got = toDevmeshError(fromGrpcError(Object.assign(error, { metadata })));
    expect(got).to.include({ reason: "NOT_FOUND", message: "no such job" });
  });

  it("stand for their code when the peer's reason is one of a later version", () => {
    const wire = toConnectError(new DevmeshError("ALREADY_EXISTS", "twice"));
    const text = new ConnectError("twice", Code.AlreadyExists);
    text.details = wire.details.map((detail) =>
      "desc" in detail
        ? { ...detail, value: { ...detail.value, reason: "FROM_THE_FUTURE" } }
        : detail,
    );
    expect(toDevmeshError(text).reason).to.equal("ALREADY_EXISTS");
    expect(overTheWire(text).reason).to.equal("ALREADY_EXISTS");
  });

  it("name the field of a protovalidate violation", () => {
    const violation = {
      field: { elements: [{ fieldName: "spec" }, { fieldName: "max_attempts" }] },
      message: "must be at most 20",
    };
    const foreign = new ConnectError("invalid", Code.InvalidArgument, undefined, [
      { desc: ViolationsSchema, value: { violations: [violation] } },
    ]);
    const got = toDevmeshError(foreign);
    expect(got.reason).to.equal("INVALID_FIELD");
    expect(got.message).to.equal("spec.max_attempts: must be at most 20");
    expect(got.metadata).to.deep.equal({ field: "spec.max_attempts" });
  });
});
