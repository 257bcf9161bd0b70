/** Events as frames: each kind under its name, with its number and time, and not a byte changed. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type JobEvent, JobEventSchema, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { WatchJobResponseSchema } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import fc from "fast-check";
import { encodeFrame, type JobFrame } from "../../services/api/streams/job-frames.ts";

const time = timestampFromMs(1_700_000_000_123);

function frameOf(kind: JobEvent["kind"] | { case: string; value: object }): JobFrame {
  const value = create(JobEventSchema, { seq: 7, time, kind: kind as JobEvent["kind"] });
  const step = { case: "event" as const, value };
  const encoded = encodeFrame(create(WatchJobResponseSchema, { step }));
  const again = encodeFrame(create(WatchJobResponseSchema, { step }));
  expect(again?.bytes).to.equal(encoded?.bytes);
  expect(encoded?.seq).to.equal(value.seq);
  const frame: JobFrame | undefined = encoded && JSON.parse(encoded.bytes.toString());
  if (frame === undefined) throw new Error("no frame");
  return frame;
}

describe("job frames", () => {
  it("carry any output without changing a byte", () => {
    fc.assert(
      fc.property(
        fc.uint8Array(),
        fc.constantFrom(LogStream.STDOUT, LogStream.STDERR),
        (data, stream) => {
          const { payload } = frameOf({ case: "log", value: { stream, data } });
          const { text, dataBase64 } = payload as { text?: string; dataBase64?: string };
          const back =
            text === undefined
              ? Buffer.from(dataBase64 ?? "", "base64")
              : Buffer.from(text, "utf8");
          expect(back.equals(Buffer.from(data))).to.equal(true);
        },
      ),
    );
  });

  it("show text as text", () => {
    const value = { stream: LogStream.STDERR, data: Buffer.from("héllo\n") };
    expect(frameOf({ case: "log", value })).to.deep.equal({
      type: "log",
      ts: "2023-11-14T22:13:20.123Z",
      payload: { seq: 7, stream: "stderr", text: "héllo\n" },
    });
  });

  it("show status, note and result by their own names", () => {
    const status = frameOf({ case: "status", value: { status: JobStatus.RUNNING, attempt: 1 } });
    expect(status).to.deep.include({ type: "status" });
    expect(status.payload).to.deep.equal({ seq: 7, status: "JOB_STATUS_RUNNING", attempt: 1 });
    const note = frameOf({
      case: "note",
      value: { level: "info", topic: "t", message: "m", payload: { a: [1] } },
    });
    expect(note.payload).to.deep.equal({
      ...{ seq: 7, level: "info", topic: "t", message: "m", payload: { a: [1] } },
    });
    const result = frameOf({
      case: "result",
      value: { outcome: JobStatus.SUCCEEDED, exitCode: 0 },
    });
    expect(result.payload).to.deep.equal({ seq: 7, outcome: "JOB_STATUS_SUCCEEDED", exitCode: 0 });
  });

  it("are none for signs of life and for kinds of a later release", () => {
    expect(
      encodeFrame(create(WatchJobResponseSchema, { step: { case: "keepalive", value: {} } })),
    ).to.equal(undefined);
    const value = create(JobEventSchema, { seq: 1 });
    expect(
      encodeFrame(create(WatchJobResponseSchema, { step: { case: "event", value } })),
    ).to.equal(undefined);
  });
});
