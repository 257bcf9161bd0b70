/** The promises of `jobs.watch`: nothing missing, nothing twice, over any cut. */
import { createDevmesh, JobStreamError, type WatchState } from "@devmesh/sdk";
import { createDevmesh as createNodeDevmesh } from "@devmesh/sdk/node";
import { expect } from "chai";
import { collect } from "./collect.ts";
import { FakeDevmesh, ownerSecret } from "./fake/fake-devmesh.ts";

const retry = { baseDelayMs: 1, maxDelayMs: 5 };

for (const kind of ["fetch", "http/2"] as const) {
  describe(`watch over ${kind}`, () => {
    let fake: FakeDevmesh;
    let server: Awaited<ReturnType<FakeDevmesh["listen"]>>;

    beforeEach(async () => {
      fake = new FakeDevmesh();
      server = await fake.listen();
    });
    afterEach(() => server.close());

    const client = () => {
      const options = { baseUrl: server.url, token: ownerSecret, retry };
      return kind === "fetch" ? createDevmesh(options) : createNodeDevmesh(options);
    };
    const seqsOf = async (command: string[], options = {}) => {
      const devmesh = client();
      const { jobId } = await devmesh.jobs.create({ command });
      const seqs: number[] = [];
      for await (const { seq } of devmesh.jobs.watch(jobId, options)) seqs.push(seq);
      return seqs;
    };
    const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

    it("resumes after the server drains", async () => {
      fake.faults.cutWatchAfter = 4;
      const states: string[] = [];
      const onState = ({ state }: WatchState) => states.push(state);
      expect(await seqsOf(["many", "20"], { onState })).to.deep.equal(upTo(23));
      expect(fake.faults.watches).to.deep.equal([1, 5]);
      expect(states).to.deep.equal(["live", "reconnecting", "live"]);
    });

    it("resumes after a stream that ends too early", async () => {
      fake.faults.endWatchAfter = 3;
      expect(await seqsOf(["many", "20"])).to.deep.equal(upTo(23));
      expect(fake.faults.watches).to.deep.equal([1, 4]);
    });

    it("resumes after the connection is pulled", async () => {
      const devmesh = client();
      const { jobId } = await devmesh.jobs.create({ command: ["hang"] });
      const seqs: number[] = [];
      for await (const { seq, kind } of devmesh.jobs.watch(jobId)) {
        seqs.push(seq);
        if (kind.case !== "log") continue;
        fake.dropConnections();
        await devmesh.jobs.cancel(jobId);
      }
      expect(seqs).to.deep.equal(upTo(4));
      expect(fake.faults.watches.length).to.be.at.least(2);
    });

    it("throws on a missing number", async () => {
      fake.faults.dropSeq = 5;
      const error = await seqsOf(["many", "20"]).catch((caught: unknown) => caught);
      expect(error).to.be.instanceOf(JobStreamError).and.include({ kind: "sequence" });
    });

    it("throws on a number that comes twice", async () => {
      fake.faults.doubleSeq = 5;
      const error = await seqsOf(["many", "20"]).catch((caught: unknown) => caught);
      expect(error).to.be.instanceOf(JobStreamError).and.include({ kind: "sequence" });
    });

    it("checks the log of the last attempt only", async () => {
      expect(await seqsOf(["twice"])).to.deep.equal(upTo(6));
    });

    it("throws on a log that differs from its SHA-256, unless told not to look", async () => {
      fake.jobs.forgedSha256 = "0".repeat(64);
      const error = await seqsOf(["echo", "x"]).catch((caught: unknown) => caught);
      expect(error).to.be.instanceOf(JobStreamError).and.include({ kind: "digest" });
      expect(await seqsOf(["echo", "x"], { verify: false })).to.deep.equal(upTo(4));
    });

    it("checks nothing when it starts inside of an attempt", async () => {
      fake.jobs.forgedSha256 = "0".repeat(64);
      expect(await seqsOf(["many", "3"], { from: 4 })).to.deep.equal([4, 5, 6]);
    });

    it("ends on an abort, and the server hears of it", async () => {
      const devmesh = client();
      const { jobId } = await devmesh.jobs.create({ command: ["hang"] });
      const abort = new AbortController();
      const watching = (async () => {
        for await (const { kind } of devmesh.jobs.watch(jobId, { signal: abort.signal })) {
          if (kind.case === "log") abort.abort();
        }
      })();
      const error = await watching.catch((caught: unknown) => caught);
      expect(error).to.include({ reason: "CANCELLED" });
    });

    it("ends at once for a job that does not exist", async () => {
      const error = await collect(client().jobs.watch("nope")).catch((e: unknown) => e);
      expect(error).to.include({ reason: "NOT_FOUND" });
      expect(fake.faults.watches).to.have.length(1);
    });

    it("counts a silent connection as dead", async () => {
      fake.faults.silence("WatchJob");
      const devmesh = client();
      const { jobId } = await devmesh.jobs.create({ command: ["echo"] });
      const watch = devmesh.jobs.watch(jobId, { idleTimeoutMs: 20 });
      const error = await collect(watch).catch((caught: unknown) => caught);
      expect(error).to.include({ reason: "UNAVAILABLE" });
    });
  });
}
