/** WebSockets that must end early: a reader that stops is shed, a server that stops says so. */
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { createLogger } from "@devmesh/mesh/log";
import { SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { WebSocket } from "ws";
import { allWays } from "../wire/all-ways.ts";
import { until, within } from "../wire/waiting.ts";
import type { WireFailure } from "../wire/ways.ts";
import { Bed } from "./bed.ts";
import { HandRunner } from "./hand-runner.ts";

interface Frame {
  readonly type: string;
  readonly payload: {
    readonly seq?: number;
    readonly reason?: string;
    readonly metadata?: Record<string, string>;
  };
}

describe("a job socket that ends early", function () {
  this.timeout(60_000);
  let bed: Bed;
  afterEach(() => bed.close());

  async function watch(id: string) {
    const url = `ws://127.0.0.1:${await bed.listen()}/v1/stream/${id}`;
    const socket = new WebSocket(url, ["devmesh.v1", `bearer.${bed.ownerSecret}`]);
    socket.on("error", () => {});
    const frames: Frame[] = [];
    socket.on("message", (data) => frames.push(JSON.parse(String(data))));
    const closed = new Promise<{ code: number; reason: string }>((resolve) => {
      socket.on("close", (code, reason) => resolve({ code, reason: String(reason) }));
    });
    return { socket, frames, closed: () => within(closed, "the close") };
  }

  /** The numbers of the events among the frames. */
  const numbers = (frames: readonly Frame[]) =>
    frames.flatMap(({ payload }) => (payload.seq === undefined ? [] : [payload.seq]));

  it("sheds a reader that stops, tells it where to come back, and spares another", async () => {
    const log: string[] = [];
    const logger = createLogger({
      service: "api",
      destination: { write: (line) => log.push(line) },
    });
    bed = await Bed.open({ config: { slowReaderMs: 3_000 }, clock: new SystemClock(), logger });
    const runner = await HandRunner.register((service) => bed.client(service));
    const job = await runner.start();
    const slow = await watch(job.id);
    const other = await watch(job.id);
    await until(() => slow.frames.length === 2 && other.frames.length === 2, "both are there");
    slow.socket.pause();
    // More than the kernel's buffers between the two hold.
    const piece = { data: "x".repeat(60_000) };
    await job.write(...Array.from({ length: 300 }, () => piece));
    await until(() => numbers(other.frames).length === 302, "the other has it all");
    const heldBack = slow.frames.length;
    expect(heldBack).to.be.below(302);
    await until(() => log.some((line) => line.includes("slow watcher shed")), "it is shed");
    slow.socket.resume();
    const { code, reason } = await slow.closed();
    const last = slow.frames.at(-1);
    const seen = numbers(slow.frames);
    const next = (seen.at(-1) ?? 0) + 1;
    expect(seen).to.deep.equal(seen.map((_, i) => i + 1));
    expect(last?.type).to.equal("error");
    expect(last?.payload.reason).to.equal("UNAVAILABLE");
    expect(last?.payload.metadata).to.deep.equal({ resume_from: String(next) });
    expect([code, reason]).to.deep.equal([1013, `resume from ${next}`]);
    const lastSeq = await job.finish();
    expect((await other.closed()).code).to.equal(1000);
    expect(numbers(other.frames).at(-1)).to.equal(lastSeq);
  });

  it("tells watchers of a server that stops where to go on", async () => {
    bed = await Bed.open();
    const runner = await HandRunner.register((service) => bed.client(service));
    const job = await runner.start();
    await job.write({ data: "a" });
    const { frames, closed } = await watch(job.id);
    await until(() => frames.length === 3, "the events");
    const stopped = bed.close(10_000);
    const { code, reason } = await closed();
    await stopped;
    expect([code, reason]).to.deep.equal([1001, "resume from 4"]);
    expect(frames.at(-1)?.type).to.equal("error");
    expect(frames.at(-1)?.payload.reason).to.equal("DRAINING");
    expect(frames.at(-1)?.payload.metadata?.resume_from).to.equal("4");
  });

  it("tells readers of the other streams the same", async () => {
    bed = await Bed.open();
    const runner = await HandRunner.register((service) => bed.client(service));
    const job = await runner.start();
    await job.write({ data: "a" });
    const served = { engine: "connect", port: await bed.listen(), methods: [] } as const;
    const ways = allWays({ ...served, url: await bed.url() }).filter(
      ({ name }) => name !== "createInProcessTransport",
    );
    const headers = { authorization: `Bearer ${bed.ownerSecret}` };
    let read = 0;
    const ends = ways.map(async (way) => {
      const events = way.serverStream(JobService.method.watchJob, { id: job.id }, { headers });
      try {
        for await (const _ of events) read += 1;
      } catch (error) {
        return error;
      } finally {
        way.close();
      }
    });
    await until(() => read === 3 * ways.length, "the events on every way");
    const stopped = bed.close(10_000);
    for (const [n, end] of (await Promise.all(ends)).entries()) {
      expect(end, ways[n]?.name).to.include({ reason: "DRAINING" });
      const { metadata } = end as WireFailure;
      expect(metadata, ways[n]?.name).to.deep.equal({ resume_from: "4" });
    }
    await stopped;
  });

  it("closes with the last number and the log's SHA-256", async () => {
    bed = await Bed.open();
    const runner = await HandRunner.register((service) => bed.client(service));
    const job = await runner.start();
    await job.write({ data: "abc" });
    const lastSeq = await job.finish();
    const { frames, closed } = await watch(job.id);
    expect(await closed()).to.deep.equal({ code: 1000, reason: "" });
    expect(frames.at(-1)?.payload).to.deep.include({
      seq: lastSeq,
      logSha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    });
  });
});
