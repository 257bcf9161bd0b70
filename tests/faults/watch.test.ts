/** Watchers over a network that cuts, resets and goes deaf: every byte once, in order. */
import { createHash } from "node:crypto";
import { SeededRandom, SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { WebSocket } from "ws";
import * as portable from "../../sdk/ts/src/index.ts";
import { createDevmesh, type Devmesh } from "../../sdk/ts/src/node.ts";
import { JobFeed, type Socket } from "../../web/src/features/jobs/job-feed.ts";
import type { JobFrame } from "../../web/src/features/jobs/job-frame.ts";
import { Bed } from "../api/bed.ts";
import { type HandJob, HandRunner } from "../api/hand-runner.ts";
import { until } from "../wire/waiting.ts";
import { between } from "./random.ts";
import { type FaultPlan, TcpProxy } from "./tcp-proxy.ts";

/** Connections until the network is good again. */
const faultyConnections = 12;

describe("watching over a bad network", function () {
  this.timeout(180_000);
  let bed: Bed;
  let proxy: TcpProxy;
  let runner: HandRunner;
  beforeEach(async () => {
    bed = await Bed.open({ clock: new SystemClock() });
    proxy = await TcpProxy.open({ upstreamPort: await bed.listen() });
    runner = await HandRunner.register((service) => bed.client(service));
  });
  afterEach(async () => {
    await proxy.close();
    await bed.close();
  });

  /** Cuts within a frame, or within a head, by reset or end. */
  function cuts(seed: number): FaultPlan {
    const random = new SeededRandom(seed);
    return (index) => {
      if (index >= faultyConnections) return {};
      const cut = random.next() < 0.5 ? "reset" : "end";
      return { cutAfterBytes: between(random, 50, 60_000), cut, latencyMs: between(random, 0, 3) };
    };
  }

  /** Writes pieces of odd sizes until the network has been as bad as planned, then ends the job. */
  async function play(job: HandJob, seed: number): Promise<{ sha256: string; lastSeq: number }> {
    const random = new SeededRandom(seed + 1);
    const hash = createHash("sha256");
    for (let i = 0; i < 400; i++) {
      // Nothing that a transport could make smaller.
      const data = Buffer.from(
        Array.from({ length: between(random, 0, 3_000) }, () => between(random, 0, 255)),
      );
      hash.update(data);
      await job.write({ data });
    }
    return { lastSeq: await job.finish(), sha256: hash.digest("hex") };
  }

  const retry = { baseDelayMs: 1, maxDelayMs: 20 };
  const clients: Record<string, () => Devmesh & { close?: () => void }> = {
    "the SDK over HTTP/2": () =>
      createDevmesh({ baseUrl: proxyUrl(), token: bed.ownerSecret, retry, pingIntervalMs: 300 }),
    "the SDK over fetch": () =>
      portable.createDevmesh({ baseUrl: proxyUrl(), token: bed.ownerSecret, retry }),
  };
  const proxyUrl = () => `http://127.0.0.1:${proxy.port}`;

  for (const [name, connect] of Object.entries(clients)) {
    for (const seed of [1, 2]) {
      it(`${name} gets every byte once, seed ${seed}`, async () => {
        proxy.planFrom(cuts(seed));
        const job = await runner.start();
        const played = play(job, seed);
        const devmesh = connect();
        const seqs: number[] = [];
        const hash = createHash("sha256");
        const options = { maxReconnects: 100, idleTimeoutMs: 20_000 };
        // Never reached counts as refused: the first connection may be cut in its head.
        for (let next = 1; seqs.length === 0; ) {
          try {
            for await (const { seq, kind } of devmesh.jobs.watch(job.id, options)) {
              seqs.push(seq);
              next = seq + 1;
              if (kind.case === "log") hash.update(kind.value.data);
            }
          } catch (error) {
            if (next > 1) throw error;
          }
        }
        const { lastSeq, sha256 } = await played;
        expect(seqs).to.deep.equal(Array.from({ length: lastSeq }, (_, i) => i + 1));
        expect(hash.digest("hex")).to.equal(sha256);
        expect(proxy.accepted).to.be.greaterThan(3);
        devmesh.close?.();
      });
    }
  }

  it("the console's feed over WebSocket gets every byte once", async () => {
    proxy.planFrom(cuts(3));
    const job = await runner.start();
    const played = play(job, 3);
    const seqs: number[] = [];
    const hash = createHash("sha256");
    let isOver = false;
    const onFrame = (frame: Exclude<JobFrame, { type: "heartbeat" }>) => {
      if ("seq" in frame) seqs.push(frame.seq);
      if (frame.type === "log") hash.update(frame.log.data);
      if (frame.type === "result") isOver = true;
    };
    const feed = new JobFeed({
      open: (from) => openSocket(`/v1/stream/${job.id}?from=${from}`),
      whyNot: async () => undefined,
      clock: {
        now: () => Date.now(),
        after: (ms, run) => {
          const timer = setTimeout(run, Math.min(ms, 5));
          // The feed's own watchdog is not what is tested here.
          if (ms > 30_000) clearTimeout(timer);
          return () => clearTimeout(timer);
        },
      },
      random: () => 0,
      isOnline: () => true,
      onFrame,
      onState: () => {},
    });
    feed.start();
    const { lastSeq, sha256 } = await played;
    await until(() => isOver, "the result");
    expect(seqs).to.deep.equal(Array.from({ length: lastSeq }, (_, i) => i + 1));
    expect(hash.digest("hex")).to.equal(sha256);
    expect(proxy.accepted).to.be.greaterThan(3);
  });

  function openSocket(path: string): Socket {
    const url = `ws://127.0.0.1:${proxy.port}${path}`;
    const real = new WebSocket(url, ["devmesh.v1", `bearer.${bed.ownerSecret}`]);
    const socket: Socket = {
      onopen: null,
      onmessage: null,
      onclose: null,
      close: () => real.terminate(),
    };
    real.on("error", () => {});
    real.on("open", () => socket.onopen?.());
    real.on("message", (data) => socket.onmessage?.({ data: String(data) }));
    real.on("close", (code, reason) => socket.onclose?.({ code, reason: String(reason) }));
    return socket;
  }

  for (const [name, connect] of Object.entries(clients)) {
    it(`${name} comes back from a connection that is open at its own end only`, async () => {
      const job = await runner.start();
      const devmesh = connect();
      const seqs: number[] = [];
      const over = (async () => {
        for await (const { seq } of devmesh.jobs.watch(job.id, { idleTimeoutMs: 500 })) {
          seqs.push(seq);
        }
      })();
      await until(() => seqs.length === 2, "the first events");
      proxy.halfOpenAll();
      await job.write({ data: "said while nobody heard" });
      await until(() => seqs.length === 3, "what was said meanwhile");
      const lastSeq = await job.finish();
      await over;
      expect(seqs).to.deep.equal(Array.from({ length: lastSeq }, (_, i) => i + 1));
      devmesh.close?.();
    });
  }
});
