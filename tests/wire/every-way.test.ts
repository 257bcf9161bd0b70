import { createHash } from "node:crypto";
import { toJson } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { expect } from "chai";
import { allWays, collect, failureFrom } from "./all-ways.ts";
import { bytesOf, textFor } from "./fake-services.ts";
import { gather } from "./waiting.ts";
import type { Way } from "./ways.ts";
import { type Bed, engines, startBed } from "./wire-bed.ts";

const { probeHost, deleteSandbox } = SandboxService.method;
const { infer } = InferService.method;
const { getBlob, putBlob, statBlob } = BlobService.method;
const { watchJob } = JobService.method;
const mebibyte = 1024 * 1024;

/** A way's call with a token, or without one that is good. */
const probeAs = (token: string) => (way: Way) =>
  way.unary(probeHost, {}, { headers: { authorization: `Bearer ${token}` } });

/** What is refused: what is asked, and how the refusal looks on every way in. */
const refusals: [string, (way: Way) => Promise<unknown>, Code, string, object][] = [
  [
    "a resource that is not there",
    (way) => way.unary(deleteSandbox, { id: "gone" }),
    Code.NotFound,
    "NOT_FOUND",
    { resource: "sandbox", id: "gone" },
  ],
  [
    "a field that breaks its rule",
    (way) => way.unary(deleteSandbox, { id: "x".repeat(65) }),
    Code.InvalidArgument,
    "INVALID_FIELD",
    { field: "id" },
  ],
  ["a caller without a token", probeAs("nobody"), Code.Unauthenticated, "UNAUTHENTICATED", {}],
  ["a token that is unknown", probeAs("wrong"), Code.Unauthenticated, "UNAUTHENTICATED", {}],
  [
    "a token without the scope",
    probeAs("weak"),
    Code.PermissionDenied,
    "SCOPE_MISSING",
    { scope: "read:agents" },
  ],
  [
    "a stream of what is not there",
    (way) => gather(way.serverStream(watchJob, { id: "refused" })),
    Code.NotFound,
    "NOT_FOUND",
    { resource: "job", id: "refused" },
  ],
  [
    "a stream with a field that breaks its rule",
    (way) => gather(way.serverStream(watchJob, { id: "x".repeat(65) })),
    Code.InvalidArgument,
    "INVALID_FIELD",
    { field: "id" },
  ],
];

async function* pieces() {
  for (let i = 0; i < 5; i++) yield { data: new Uint8Array(mebibyte).fill(i) };
}

for (const engine of engines) {
  describe(`ways in, HTTP/2 by ${engine}`, () => {
    let bed: Bed;
    let ways: Way[];
    before(async () => {
      bed = await startBed(engine);
      ways = allWays(bed);
    });
    after(async () => {
      for (const way of ways) way.close();
      await bed.end();
    });

    /** Runs it over every way and says which one failed. */
    async function everyWay(run: (way: Way) => Promise<void>): Promise<void> {
      for (const way of ways) {
        await run(way).catch((cause: unknown) => {
          throw new Error(`${way.name}: ${cause}`, { cause });
        });
      }
    }

    it("gives the same answer on each", () =>
      everyWay(async (way) => {
        const message = await way.unary(probeHost, { refresh: true });
        expect(toJson(probeHost.output, message)).to.deep.equal({
          host: "fake",
          drivers: [{ driver: "process", available: true }],
        });
      }));

    it("keeps text of every script as it is", () =>
      everyWay(async (way) => {
        const input = "жук 漢字 🦊 \u0000 \\ \" \n \u2028 ' %41";
        expect((await way.unary(infer, { model: "m", input })).text).to.equal(input);
      }));

    it("takes 4 MiB and answers 5 MiB", () =>
      everyWay(async (way) => {
        const sent = "y".repeat(4 * mebibyte);
        expect((await way.unary(infer, { model: "m", input: sent })).text === sent).to.equal(true);
        const input = `size:${5 * mebibyte}`;
        const { text } = await way.unary(infer, { model: "m", input });
        expect(text === textFor(input)).to.equal(true);
      }));

    it("streams the same messages in order, with every value that a byte has", () =>
      everyWay(async (way) => {
        const { got, failure } = await collect(way.serverStream(watchJob, { id: "three" }));
        expect(failure).to.equal(undefined);
        const events = got.flatMap(({ step }) => (step.case === "event" ? [step.value] : []));
        expect(events.map(({ seq }) => seq)).to.deep.equal([1, 2, 3]);
        for (const { seq, kind } of events) {
          const data = kind.case === "log" ? kind.value.data : [];
          expect(Buffer.from(data)).to.deep.equal(Buffer.from(bytesOf(seq)));
        }
      }));

    it("streams messages of 5 MiB", () =>
      everyWay(async (way) => {
        // Blobs have no REST route.
        if (way.clientStream === undefined) return;
        const sha256 = `${"0".repeat(63)}7`;
        const got = await gather(way.serverStream(getBlob, { sha256 }));
        expect(got.map(({ data }) => data.length)).to.deep.equal([256, 256, 5 * mebibyte]);
        expect(got.at(-1)?.data.every((byte) => byte === 7)).to.equal(true);
        expect((await way.unary(statBlob, { sha256 })).sizeBytes).to.equal(2n ** 60n);
      }));

    it("takes a stream of 5 MiB", () =>
      everyWay(async (way) => {
        const answer = await way.clientStream?.(putBlob, pieces());
        if (answer === undefined) return;
        const hash = createHash("sha256");
        for await (const { data } of pieces()) hash.update(data);
        expect(answer.sizeBytes).to.equal(BigInt(5 * mebibyte));
        expect(answer.sha256).to.equal(hash.digest("hex"));
      }));

    it("refuses a bad message within a client's stream and names its field", () =>
      everyWay(async (way) => {
        const bad = async function* () {
          yield { data: new Uint8Array(10) };
          yield { sha256: "no hash" };
        };
        const call = way.clientStream?.(putBlob, bad());
        if (call === undefined) return;
        const { reason, metadata } = await failureFrom(call);
        const facts = { reason: "INVALID_FIELD", metadata: { field: "sha256" } };
        expect({ reason, metadata }).to.deep.equal(facts);
      }));

    for (const [name, ask, code, reason, metadata] of refusals) {
      it(`refuses ${name} alike on each`, async () => {
        const texts = new Set<string>();
        await everyWay(async (way) => {
          const failure = await failureFrom(ask(way));
          expect(Code[failure.code]).to.equal(Code[code]);
          expect(failure.reason).to.equal(reason);
          expect(failure.metadata).to.deep.equal(metadata);
          expect(failure.requestId).to.match(/^req_\d+$/);
          texts.add(failure.message);
        });
        expect([...texts]).to.have.length(1);
      });
    }
  });
}
