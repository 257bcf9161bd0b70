/** Three backends over one Postgres: any takes, shows and cancels any job; losing one costs a reconnect. */
import { createHash } from "node:crypto";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { createDevmesh, type WatchState } from "../../sdk/ts/src/node.ts";
import { Bed, trueSpec } from "../api/bed.ts";
import { HandRunner } from "../api/hand-runner.ts";
import { postgresUrl } from "../conformance/store-places.ts";
import { until } from "../wire/waiting.ts";
import { TcpProxy } from "./tcp-proxy.ts";

/** The first byte of Postgres's NotificationResponse, which comes by itself to who listens. */
const notification = "A".charCodeAt(0);

describe("three backends over one Postgres", function () {
  this.timeout(180_000);
  let url: string;
  let beds: Bed[];
  before(async function () {
    url = await postgresUrl(this);
  });
  afterEach(async () => {
    for (const bed of beds) await bed.close();
  });

  async function openThree(storageUrl = url): Promise<readonly [Bed, Bed, Bed]> {
    const open = () => Bed.open({ config: { storageUrl }, clock: new SystemClock() });
    const [a, b, c] = [await open(), await open(), await open()];
    beds = [a, b, c];
    return [a, b, c];
  }

  const runnerOf = (bed: Bed) =>
    HandRunner.register((service) => bed.client(service), `run_${Date.now()}`);

  /** The numbers that a watch through this backend sees until the end. */
  async function watched(bed: Bed, id: string): Promise<number[]> {
    const seqs: number[] = [];
    for await (const { step } of bed.client(JobService).watchJob({ id })) {
      if (step.case === "event") seqs.push(step.value.seq);
    }
    return seqs;
  }

  const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

  it("each shows what another took and a third runs, and cancels it", async () => {
    const [a, b, c] = await openThree();
    const job = await (await runnerOf(b)).start();
    const all = [a, b, c].map((bed) => watched(bed, job.id));
    await job.write({ data: "x" });
    const lastSeq = await job.finish();
    for (const seqs of await Promise.all(all)) expect(seqs).to.deep.equal(upTo(lastSeq));

    const { jobId } = await a.client(JobService).createJob({ spec: trueSpec });
    const watching = watched(b, jobId);
    const { job: ended } = await c.client(JobService).cancelJob({ id: jobId });
    expect(ended?.status).to.equal(JobStatus.CANCELLED);
    expect(await watching).to.deep.equal(upTo(ended?.lastSeq ?? 0));
    const { job: seen } = await a.client(JobService).getJob({ id: jobId });
    expect(seen?.status).to.equal(JobStatus.CANCELLED);
  });

  it("make one job of one key, whichever of them is asked", async () => {
    const all = await openThree();
    // One owner's token: keys belong to their owner.
    const secret = all[0].ownerSecret;
    const made = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        (all[i % 3] as Bed)
          .client(JobService, secret)
          .createJob({ spec: trueSpec, idempotencyKey: "one key" }),
      ),
    );
    expect(new Set(made.map(({ jobId }) => jobId)).size).to.equal(1);
    expect(made.filter(({ replayed }) => !replayed).length).to.be.at.most(1);
    await all[1].client(JobService, secret).cancelJob({ id: made[0]?.jobId ?? "" });
  });

  it("lose one in the middle of a stream: its reader goes on at another", async () => {
    const [a, b, c] = await openThree();
    const proxy = await TcpProxy.open({ upstreamPort: await a.listen() });
    const baseUrl = `http://127.0.0.1:${proxy.port}`;
    const retry = { baseDelayMs: 1, maxDelayMs: 20 };
    const devmesh = createDevmesh({ baseUrl, token: a.ownerSecret, retry });
    try {
      const job = await (await runnerOf(c)).start();
      const hash = createHash("sha256");
      const seqs: number[] = [];
      const states: string[] = [];
      const onState = ({ state }: WatchState) => states.push(state);
      const reading = (async () => {
        for await (const { seq, kind } of devmesh.jobs.watch(job.id, { onState })) {
          seqs.push(seq);
          if (kind.case === "log") hash.update(kind.value.data);
        }
      })();
      await job.write({ data: "by the first\n" });
      await until(() => seqs.length === 3, "the first backend's events");
      proxy.switchTo(await b.listen());
      proxy.cutAll();
      await a.close();
      beds = [b, c];
      await job.write({ data: "by the second\n" });
      const lastSeq = await job.finish();
      await reading;
      expect(seqs).to.deep.equal(upTo(lastSeq));
      const expected = createHash("sha256").update("by the first\nby the second\n").digest("hex");
      expect(hash.digest("hex")).to.equal(expected);
      expect(states).to.deep.equal(["live", "reconnecting", "live"]);
    } finally {
      devmesh.close();
      await proxy.close();
    }
  });

  it("need no hint: with every notification lost, watchers see all of it", async () => {
    const target = new URL(url);
    let lost = 0;
    const losesToClient = (data: Buffer) => {
      if (data[0] !== notification) return false;
      lost += 1;
      return true;
    };
    const proxy = await TcpProxy.open({
      upstreamPort: Number(target.port),
      plan: () => ({ losesToClient }),
    });
    target.port = String(proxy.port);
    try {
      const [a, b, c] = await openThree(target.href);
      const runner = await runnerOf(a);
      const job = await runner.start();
      const all = [b, c].map((bed) => watched(bed, job.id));
      // Until a listener is there, nothing is lost.
      for (let i = 0; lost === 0; i++) await job.write({ data: `line ${i}\n` });
      const lastSeq = await job.finish();
      for (const seqs of await Promise.all(all)) expect(seqs).to.deep.equal(upTo(lastSeq));
      const { jobId } = await b.client(JobService).createJob({ spec: trueSpec });
      await c.client(JobService).cancelJob({ id: jobId });
      expect((await watched(a, jobId)).length).to.be.greaterThan(0);
    } finally {
      for (const bed of beds.splice(0)) await bed.close();
      await proxy.close();
    }
  });
});
