import { expect } from "chai";
import fc from "fast-check";
import {
  type FeedState,
  feedBackoff,
  idleMs,
  JobFeed,
  type Refusal,
  type Socket,
} from "../../web/src/features/jobs/job-feed.ts";
import { type JobFrame, parseFrame } from "../../web/src/features/jobs/job-frame.ts";
import { settled } from "../settled.ts";
import { FakeClock } from "./fake/fake-clock.ts";

class FakeSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  readonly from: number;
  isClosed = false;

  constructor(from: number) {
    this.from = from;
  }

  close(): void {
    this.isClosed = true;
  }

  open(): void {
    this.onopen?.();
  }

  send(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  log(seq: number): void {
    this.send({
      type: "log",
      ts: "2026-01-01T00:00:00Z",
      payload: { seq, stream: "stdout", text: `${seq}` },
    });
  }

  cut(code = 1006): void {
    this.onclose?.({ code, reason: "" });
  }
}

function setUp() {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  const frames: Exclude<JobFrame, { type: "heartbeat" }>[] = [];
  const states: FeedState[] = [];
  const network = { isOnline: true };
  const asked: { answer?: (refusal: Refusal | undefined) => void } = {};
  const feed = new JobFeed({
    open: (from) => {
      const socket = new FakeSocket(from);
      sockets.push(socket);
      return socket;
    },
    whyNot: () =>
      new Promise((resolve) => {
        asked.answer = resolve;
      }),
    clock,
    random: () => 1,
    isOnline: () => network.isOnline,
    onFrame: (frame) => frames.push(frame),
    onState: (state) => states.push(state),
  });
  const last = () => {
    const socket = sockets.at(-1);
    if (socket === undefined) throw new Error("nothing was opened");
    return socket;
  };
  const seqs = () => frames.flatMap((frame) => ("seq" in frame ? [frame.seq] : []));
  return { clock, sockets, frames, states, network, asked, feed, last, seqs };
}

describe("a job's feed", () => {
  it("asks why a connection was not opened, and ends with a no", async () => {
    const { feed, last, asked, sockets, states, frames, clock } = setUp();
    feed.start();
    last().cut();
    expect(states.at(-1)).to.equal("reconnecting");
    asked.answer?.({ reason: "NOT_FOUND", message: "there is no job" });
    await settled();
    expect(states.at(-1)).to.equal("refused");
    expect(frames).to.deep.equal([
      { type: "error", reason: "NOT_FOUND", message: "there is no job" },
    ]);
    clock.advance(feedBackoff.mostMs);
    expect(sockets).to.have.length(1);
  });

  it("tries on where nothing speaks against it, or one has succeeded meanwhile", async () => {
    for (const reason of ["", "RATE_LIMITED", "NOT_FOUND"]) {
      const { feed, last, asked, sockets, states, clock } = setUp();
      feed.start();
      last().cut();
      clock.advance(feedBackoff.mostMs);
      last().open();
      asked.answer?.(reason === "" ? undefined : { reason, message: "no" });
      await settled();
      expect([sockets.length, states.at(-1)], reason).to.deep.equal([2, "live"]);
    }
  });

  it("resumes behind the last event, after a wait", () => {
    const { feed, last, clock, sockets, states, seqs } = setUp();
    feed.start();
    last().open();
    last().log(1);
    last().log(2);
    last().cut();
    expect(states).to.deep.equal(["live", "reconnecting"]);
    clock.advance(feedBackoff.firstMs - 1);
    expect(sockets).to.have.length(1);
    clock.advance(1);
    expect(last().from).to.equal(3);
    last().open();
    last().log(3);
    expect(seqs()).to.deep.equal([1, 2, 3]);
  });

  it("goes on behind what retention has removed, and not behind a hole that it has not", () => {
    const { feed, last, seqs, states } = setUp();
    const trim = (seq: number, firstSeq: number) => {
      const payload = { seq, firstSeq, logBytes: "9", detail: "older than 30 days" };
      last().send({ type: "trim", ts: 1, payload });
    };
    feed.start();
    last().open();
    last().log(1);
    trim(7, 1);
    last().log(8);
    expect(seqs()).to.deep.equal([1, 7, 8]);
    trim(12, 10);
    expect(seqs()).to.deep.equal([1, 7, 8]);
    expect(states.at(-1)).to.equal("reconnecting");
  });

  it("has every event once, in order, whatever the connections do", () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.constant("next" as const) },
      fc.constantFrom("double" as const, "gap" as const, "cut" as const, "rubbish" as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { feed, last, clock, seqs } = setUp();
        feed.start();
        for (const what of steps) {
          clock.advance(feedBackoff.mostMs);
          const socket = last();
          const next = feed.lastSeq + 1;
          if (what === "next") socket.log(next);
          else if (what === "double") socket.log(Math.max(1, next - 1));
          else if (what === "gap") socket.log(next + 1);
          else if (what === "rubbish") socket.onmessage?.({ data: "<html>" });
          else socket.cut();
        }
        const seen = seqs();
        expect(seen).to.deep.equal(seen.map((_, at) => at + 1));
      }),
    );
  });

  it("waits longer each time, up to a bound, and forgets that after an event", () => {
    const { feed, last, clock, sockets } = setUp();
    feed.start();
    for (let waitMs = feedBackoff.firstMs; waitMs < feedBackoff.mostMs; waitMs *= 2) {
      const before = sockets.length;
      last().cut();
      clock.advance(waitMs - 1);
      expect(sockets).to.have.length(before);
      clock.advance(1);
      expect(sockets).to.have.length(before + 1);
    }
    last().log(1);
    last().cut();
    clock.advance(feedBackoff.firstMs);
    expect(last().from).to.equal(2);
  });

  it("takes silence for a broken connection, and a heartbeat for a sign of life", () => {
    const { feed, last, clock, sockets, states } = setUp();
    feed.start();
    last().open();
    clock.advance(idleMs - 1);
    last().send({ type: "heartbeat", ts: "", payload: {} });
    clock.advance(idleMs - 1);
    expect(states.at(-1)).to.equal("live");
    clock.advance(1);
    expect(states.at(-1)).to.equal("reconnecting");
    expect(sockets[0]?.isClosed).to.equal(true);
  });

  it("tries at once when the network is back", () => {
    const { feed, last, network, sockets, states } = setUp();
    feed.start();
    last().open();
    network.isOnline = false;
    feed.wake();
    expect(states.at(-1)).to.equal("offline");
    feed.wake();
    expect(sockets).to.have.length(1);
    network.isOnline = true;
    feed.wake();
    expect(sockets).to.have.length(2);
  });

  it("ends with the result and hears nothing more", () => {
    const { feed, last, clock, sockets, states, seqs } = setUp();
    feed.start();
    const socket = last();
    socket.open();
    socket.send({ type: "result", ts: 1, payload: { seq: 1 } });
    socket.log(2);
    socket.cut(1000);
    clock.advance(idleMs * 2);
    expect(states).to.deep.equal(["live", "ended"]);
    expect(sockets).to.have.length(1);
    expect(seqs()).to.deep.equal([1]);
  });

  it("gives up where another try has the same answer", () => {
    for (const refuse of [
      (socket: FakeSocket) =>
        socket.send({ type: "error", payload: { reason: "NOT_FOUND", detail: "no such job" } }),
      (socket: FakeSocket) => socket.cut(1008),
    ]) {
      const { feed, last, clock, sockets, states, frames } = setUp();
      feed.start();
      refuse(last());
      clock.advance(idleMs * 2);
      expect(states).to.deep.equal(["refused"]);
      expect(sockets).to.have.length(1);
      expect(frames.map(({ type }) => type)).to.deep.equal(["error"]);
    }
  });

  it("opens nothing after it was stopped", () => {
    const { feed, last, clock, sockets } = setUp();
    feed.start();
    last().cut();
    feed.stop();
    clock.advance(idleMs);
    expect(sockets).to.have.length(1);
  });
});

describe("a stream's frame", () => {
  it("holds text, or bytes where they are not UTF-8", () => {
    const frame = (payload: object) =>
      parseFrame(JSON.stringify({ type: "log", ts: "1970-01-01T00:00:01Z", payload }));
    expect(
      parseFrame(JSON.stringify({ type: "trim", ts: 5, payload: { seq: 4, detail: "old" } })),
    ).to.deep.equal({ type: "trim", seq: 4, timeMs: 5, firstSeq: 4, detail: "old" });
    expect(frame({ seq: 1, stream: "stderr", text: "é" })).to.deep.equal({
      type: "log",
      seq: 1,
      timeMs: 1_000,
      log: { stream: "stderr", data: "é" },
    });
    expect(frame({ seq: 2, stream: "stdout", dataBase64: "w6k=" })).to.deep.include({
      log: { stream: "stdout", data: Uint8Array.of(0xc3, 0xa9) },
    });
  });

  it("is none without a number, and unknown ones are counted", () => {
    expect(parseFrame('{"type":"log","payload":{}}')).to.equal(undefined);
    expect(parseFrame("[]")).to.equal(undefined);
    expect(parseFrame(new ArrayBuffer(1))).to.equal(undefined);
    expect(parseFrame('{"type":"later","payload":{"seq":7}}')).to.deep.equal({
      type: "unknown",
      seq: 7,
    });
  });

  it("reads a status in any of its spellings", () => {
    for (const status of ["JOB_STATUS_RUNNING", "RUNNING", "running"]) {
      const frame = parseFrame(JSON.stringify({ type: "status", payload: { seq: 1, status } }));
      expect(frame).to.have.nested.property("change.status", "running");
    }
  });
});
