/** Watching a job whose first events retention has removed. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createRouterTransport } from "@connectrpc/connect";
import { createDevmesh, type JobEvent, JobStatus, JobStreamError } from "@devmesh/sdk";
import { JobService, type WatchJobResponseSchema } from "@devmesh/sdk/raw";
import { expect } from "chai";
import { JobEventSchema } from "../../sdk/ts/src/gen/devmesh/api/v1/job_event_pb.js";

type Kind = MessageInitShape<typeof JobEventSchema>["kind"];

const log: Kind = { case: "log", value: { data: new Uint8Array([1]) } };
const result: Kind = {
  case: "result",
  value: { outcome: JobStatus.SUCCEEDED, logSha256: "ab".repeat(32), logBytes: 9n },
};
const trimFrom = (firstSeq: number): Kind => ({
  case: "trim",
  value: { firstSeq, logBytes: 9n, detail: "older than 30 days" },
});

/** The numbers and kinds that a watch from `from` on sees of the events. */
async function watched(from: number, events: readonly (readonly [number, Kind])[]) {
  const transport = createRouterTransport(({ service }) => {
    service(JobService, {
      async *watchJob() {
        for (const [seq, kind] of events) {
          const value = create(JobEventSchema, { seq, kind });
          const step: MessageInitShape<typeof WatchJobResponseSchema>["step"] = {
            case: "event",
            value,
          };
          yield { step };
        }
      },
    });
  });
  const devmesh = createDevmesh({ baseUrl: "http://127.0.0.1", transport });
  const seen: [number, JobEvent["kind"]["case"]][] = [];
  for await (const { seq, kind } of devmesh.jobs.watch("job_1", { from })) {
    seen.push([seq, kind.case]);
  }
  return seen;
}

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe("watching a job that was trimmed", () => {
  for (const from of [1, 4, 40]) {
    it(`from ${from} sees what is gone, then the rest, and holds it to no digest`, async () => {
      const seen = await watched(from, [
        [40, trimFrom(1)],
        [41, result],
      ]);
      expect(seen).to.deep.equal([
        [40, "trim"],
        [41, "result"],
      ]);
    });
  }

  it("still misses nothing behind it", async () => {
    const failure = await failureOf(
      watched(1, [
        [40, trimFrom(1)],
        [42, result],
      ]),
    );
    expect(failure).to.be.instanceOf(JobStreamError).and.include({ kind: "sequence" });
  });

  it("takes no trim that begins behind what it waits for, or ends before it", async () => {
    for (const [from, first, last] of [
      [1, 2, 40],
      [50, 1, 40],
    ] as const) {
      const failure = await failureOf(watched(from, [[last, trimFrom(first)]]));
      expect(failure).to.be.instanceOf(JobStreamError).and.include({ kind: "sequence" });
    }
  });

  it("takes no other event instead", async () => {
    const failure = await failureOf(watched(1, [[5, log]]));
    expect(failure).to.be.instanceOf(JobStreamError).and.include({ kind: "sequence" });
  });
});
