import { DatabaseSync } from "node:sqlite";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason, ErrorReasonSchema } from "@devmesh/gen/devmesh/errors/v1/reason_pb";
import { ErrorInfoSchema } from "@devmesh/gen/google/rpc/error_details_pb";
import {
  codeOf,
  DevmeshError,
  isReason,
  isRetryable,
  notFound,
  reasons,
  statusOf,
  toConnectError,
  toDevmeshError,
  toProblem,
} from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";

const hidden = "internal error; the log has the cause under the request id";

describe("errors: the table", () => {
  it("has a row for every reason of the contract, in its order, and no other", () => {
    const names = ErrorReasonSchema.values
      .filter(({ number }) => number !== ErrorReason.UNSPECIFIED)
      .map(({ localName }) => localName);
    expect([...reasons]).to.deep.equal(names);
  });

  it("has a code that fits its HTTP status", () => {
    for (const reason of reasons) {
      expect(Code[codeOf(reason)], reason).to.be.a("string");
      expect(statusOf(reason), reason).to.be.within(400, 599);
      expect(isReason(reason)).to.equal(true);
    }
    expect(isReason("toString")).to.equal(false);
  });
});

describe("errors: the mapping", () => {
  const anyError = fc.record({
    reason: fc.constantFrom(...reasons),
    message: fc.string({ minLength: 1 }),
    metadata: fc.dictionary(fc.string({ minLength: 1 }), fc.string()),
    retryAfterMs: fc.option(fc.nat(10_000_000), { nil: undefined }),
  });

  it("keeps reason, message, metadata and wait in both directions", () => {
    fc.assert(
      fc.property(anyError, ({ reason, message, metadata, retryAfterMs }) => {
        const options = retryAfterMs === undefined ? { metadata } : { metadata, retryAfterMs };
        const wire = toConnectError(new DevmeshError(reason, message, options));
        expect(wire.code).to.equal(codeOf(reason));
        const back = toDevmeshError(wire);
        expect(back).to.include({ reason, message, retryAfterMs });
        expect({ ...back.metadata }).to.deep.equal({ ...metadata });
      }),
    );
  });

  it("leaves a wire error of ours as it is", () => {
    const wire = toConnectError(notFound("job", "job_1"));
    expect(toConnectError(wire)).to.equal(wire);
  });

  it("does not take another domain's ErrorInfo for its own", () => {
    const foreign = new ConnectError("no", Code.NotFound, undefined, [
      { desc: ErrorInfoSchema, value: { reason: "FENCED", domain: "example.com" } },
    ]);
    expect(toDevmeshError(foreign).reason).to.equal("NOT_FOUND");
    expect(toDevmeshError(toConnectError(foreign)).reason).to.equal("NOT_FOUND");
  });

  it("stands every bare gRPC code for a reason with that code", () => {
    const codes = Object.values(Code).filter((code) => typeof code === "number");
    for (const code of codes) {
      const { reason } = toDevmeshError(new ConnectError("x", code));
      const same = code === Code.Unknown || code === Code.DataLoss ? Code.Internal : code;
      expect(codeOf(reason), Code[code]).to.equal(same);
    }
  });

  it("tells a full disk from a defect, whoever says it", () => {
    const db = new DatabaseSync(":memory:");
    db.exec("CREATE TABLE t (x); PRAGMA max_page_count = 3");
    let full: unknown;
    try {
      db.prepare("INSERT INTO t VALUES (zeroblob(1000000))").run();
    } catch (error) {
      full = error;
    }
    db.close();
    const errors = [
      full,
      Object.assign(new Error("write ENOSPC"), { code: "ENOSPC" }),
      Object.assign(new Error("could not extend file"), { code: "53100" }),
    ];
    for (const error of errors) {
      const known = toDevmeshError(ConnectError.from(error, Code.Internal));
      expect(known.reason, String(error)).to.equal("UNAVAILABLE");
      expect(known.message).to.include("no room left").and.to.not.include("extend");
      expect(toDevmeshError(error).reason).to.equal("UNAVAILABLE");
    }
  });

  it("hides the text of whatever it does not know", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12 }), (text) => {
        const unknowns = [
          new Error(text),
          text,
          { text },
          ConnectError.from(new Error(text)),
          ConnectError.from(new Error(text), Code.Internal),
        ];
        for (const unknown of unknowns) {
          const wire = toConnectError(unknown);
          expect(wire.code).to.equal(Code.Internal);
          expect(wire.rawMessage).to.equal(hidden);
        }
      }),
    );
  });

  it("tells a cancel from a time limit", () => {
    expect(toDevmeshError(AbortSignal.abort().reason).reason).to.equal("CANCELLED");
    const late = new DOMException("late", "TimeoutError");
    expect(toDevmeshError(late).reason).to.equal("DEADLINE_EXCEEDED");
  });
});

describe("errors: the problem document", () => {
  it("is RFC 9457 with reason, metadata and request id", () => {
    const error = new DevmeshError("RATE_LIMITED", "too many", { metadata: { queue: "q" } });
    expect(toProblem(error, "req_1")).to.deep.equal({
      type: "https://devmesh.dev/errors#RATE_LIMITED",
      title: "rate limited",
      status: 429,
      detail: "too many",
      reason: "RATE_LIMITED",
      metadata: { queue: "q" },
      requestId: "req_1",
      retryable: true,
    });
    expect(isRetryable("KEY_REUSED")).to.equal(false);
  });
});
