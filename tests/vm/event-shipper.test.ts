/** The shipper: all bytes, in order, numbered without a gap, whatever happens to appends. */
import { type JobEvent, LogStream } from "@devmesh/gen/devmesh/api/v1/job_event_pb";
import { DevmeshError, type Reason } from "@devmesh/mesh/errors";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import fc from "fast-check";
import { EventShipper } from "../../services/vm/runner/event-shipper.ts";
import { settled } from "../settled.ts";

const { STDOUT, STDERR } = LogStream;

/** A store that takes what continues the log, passes over what it has, and fails when told to. */
class Log {
  readonly events: JobEvent[] = [];
  readonly clock = new TestClock();
  readonly lease = new AbortController();
  readonly failures: unknown[] = [];
  readonly faults: ({ reason: Reason; committed: boolean } | undefined)[] = [];
  readonly shipper: EventShipper;
  hold: Promise<void> | undefined;

  constructor(firstSeq = 3) {
    this.shipper = new EventShipper({
      firstSeq,
      clock: this.clock,
      signal: this.lease.signal,
      append: (events) => this.#append(events, firstSeq),
      onFailure: (error) => this.failures.push(error),
    });
  }

  /** The bytes of one stream. */
  bytes(stream: LogStream): Buffer {
    return Buffer.concat(
      this.events.flatMap(({ kind }) =>
        kind.case === "log" && kind.value.stream === stream ? [kind.value.data] : [],
      ),
    );
  }

  async #append(events: readonly JobEvent[], firstSeq: number): Promise<void> {
    await this.hold;
    const fault = this.faults.shift();
    if (fault === undefined || fault.committed) {
      for (const event of events) {
        const expected = firstSeq + this.events.length;
        if (event.seq > expected) throw new DevmeshError("SEQUENCE_GAP", "a gap");
        if (event.seq === expected) this.events.push(event);
      }
    }
    if (fault !== undefined) throw new DevmeshError(fault.reason, "on purpose");
  }
}

/** Moves the time on until the promise is settled. */
async function played<T>(log: Log, promise: Promise<T>): Promise<T> {
  let done = false;
  const mark = () => {
    done = true;
  };
  promise.then(mark, mark);
  while (!done) {
    await settled(1);
    log.clock.advance(2_000);
  }
  return promise;
}

describe("event shipper", () => {
  it("ships exactly what it was given, in order, through any failures of appends", async () => {
    const fault = fc.option(
      fc.record({
        reason: fc.constantFrom<Reason>("UNAVAILABLE", "DEADLINE_EXCEEDED", "DRAINING"),
        committed: fc.boolean(),
      }),
      { nil: undefined },
    );
    const step = fc.oneof(
      fc.record({
        stream: fc.constantFrom(STDOUT, STDERR),
        data: fc.uint8Array({ maxLength: 50 }),
      }),
      fc.record({ note: fc.string() }),
      fc.constant("turn" as const),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { maxLength: 10 }),
        fc.array(step),
        async (faults, steps) => {
          const log = new Log();
          log.faults.push(...faults);
          const given = { [STDOUT]: [] as Uint8Array[], [STDERR]: [] as Uint8Array[] };
          let notes = 0;
          for (const one of steps) {
            if (one === "turn") await settled(1);
            else if ("note" in one) {
              notes += 1;
              await log.shipper.note({ level: "info", topic: "t", message: one.note });
            } else {
              given[one.stream as typeof STDOUT].push(one.data);
              await log.shipper.log(one.stream, one.data);
            }
          }
          await played(log, log.shipper.flush());
          expect(log.bytes(STDOUT)).to.deep.equal(Buffer.concat(given[STDOUT]));
          expect(log.bytes(STDERR)).to.deep.equal(Buffer.concat(given[STDERR]));
          expect(log.events.filter(({ kind }) => kind.case === "note")).to.have.length(notes);
          expect(log.events.map(({ seq }) => seq)).to.deep.equal(log.events.map((_, i) => i + 3));
          expect(log.shipper.nextSeq).to.equal(log.events.length + 3);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("joins small pieces, and never touches what is on its way", async () => {
    const log = new Log();
    const gate = Promise.withResolvers<void>();
    log.hold = gate.promise;
    await log.shipper.log(STDOUT, Buffer.from("a"));
    for (const piece of ["b", "c", "d"]) await log.shipper.log(STDOUT, Buffer.from(piece));
    gate.resolve();
    await log.shipper.flush();
    expect(
      log.events.map(({ kind }) => kind.case === "log" && String(kind.value.data)),
    ).to.deep.equal(["a", "bcd"]);
  });

  it("ships what comes at the very moment the last batch is stored", async () => {
    // Each turn of the microtasks is one chance to fall between a look and an end.
    for (let turns = 0; turns < 60; turns++) {
      const log = new Log();
      await log.shipper.log(STDOUT, Buffer.from("a"));
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      await log.shipper.log(STDERR, Buffer.from("b"));
      await settled(3);
      expect(log.bytes(STDERR), `after ${turns} turns`).to.have.length(1);
    }
  });

  it("cuts output at the contract's 64 KiB, and takes no output as none", async () => {
    const log = new Log();
    await log.shipper.log(STDOUT, Buffer.alloc(0));
    await log.shipper.flush();
    await log.shipper.log(STDOUT, Buffer.alloc(200 * 1024, "x"));
    await log.shipper.flush();
    const sizes = log.events.map(({ kind }) => kind.case === "log" && kind.value.data.length);
    expect(sizes).to.deep.equal([65_536, 65_536, 65_536, 8_192]);
  });

  it("holds the writer back while too much waits, and lets it go on when there is room", async () => {
    const log = new Log();
    const gate = Promise.withResolvers<void>();
    log.hold = gate.promise;
    const piece = Buffer.alloc(64 * 1024, "x");
    let written = 0;
    const writing = (async () => {
      for (; written < 300; written++) await log.shipper.log(STDOUT, piece);
    })();
    await settled();
    expect(written * piece.length).to.be.within(8 * 1024 * 1024, 10 * 1024 * 1024);
    gate.resolve();
    await writing;
    await log.shipper.flush();
    expect(log.bytes(STDOUT)).to.have.length(300 * piece.length);
  });

  it("counts the payload of notes, and holds their writer back too", async () => {
    const log = new Log();
    const gate = Promise.withResolvers<void>();
    log.hold = gate.promise;
    const payload = { text: "x".repeat(60_000) };
    let written = 0;
    const writing = (async () => {
      for (; written < 400; written++)
        await log.shipper.note({ level: "info", topic: "t", message: "m", payload });
    })();
    await settled();
    expect(written).to.be.below(200);
    gate.resolve();
    await writing;
    await log.shipper.flush();
    expect(log.events).to.have.length(400);
  });

  it("fails for good where it is refused, wakes who waits, and ships nothing after", async () => {
    const log = new Log();
    const gate = Promise.withResolvers<void>();
    log.hold = gate.promise;
    log.faults.push({ reason: "FENCED", committed: false });
    const piece = Buffer.alloc(64 * 1024);
    const writing = (async () => {
      for (;;) await log.shipper.log(STDOUT, piece);
    })();
    await settled();
    gate.resolve();
    expect(await reasonOf(writing)).to.equal("FENCED");
    expect(log.failures).to.have.length(1);
    expect(await reasonOf(log.shipper.note({ level: "info", topic: "t", message: "m" }))).to.equal(
      "FENCED",
    );
    expect(await reasonOf(log.shipper.flush())).to.equal("FENCED");
    await settled();
    expect(log.events).to.deep.equal([]);
  });

  it("tells of a failure although nobody writes any more", async () => {
    const log = new Log();
    log.faults.push({ reason: "NOT_FOUND", committed: false });
    await log.shipper.log(STDOUT, Buffer.from("a"));
    await settled();
    expect(log.failures).to.have.length(1);
  });

  it("stops waiting for a backend that is away when the lease is lost", async () => {
    const log = new Log();
    log.faults.push({ reason: "UNAVAILABLE", committed: false });
    await log.shipper.log(STDOUT, Buffer.from("a"));
    const flushed = reasonOf(log.shipper.flush());
    await settled();
    log.lease.abort(new DevmeshError("FENCED", "lost"));
    expect(await flushed).to.equal("FENCED");
  });

  it("gives up on a backend that fails without a reason again and again", async () => {
    const log = new Log();
    for (let i = 0; i < 10; i++) log.faults.push({ reason: "INTERNAL", committed: false });
    await log.shipper.log(STDOUT, Buffer.from("a"));
    expect(await played(log, reasonOf(log.shipper.flush()))).to.equal("INTERNAL");
  });

  it("keeps notes within the contract, whoever wrote them", async () => {
    const log = new Log();
    const deep = JSON.parse(`${'{"a":'.repeat(100)}1${"}".repeat(100)}`);
    await log.shipper.note({ level: "info", topic: "ü".repeat(64), message: "日".repeat(9_999) });
    await log.shipper.note({ level: "info", topic: "t", message: "\0\ud800", payload: deep });
    await log.shipper.flush();
    const [first, second] = log.events.map(({ kind }) => kind.case === "note" && kind.value);
    if (!first || !second) throw new Error("no notes");
    expect(Buffer.byteLength(first.topic)).to.equal(64);
    expect(Buffer.byteLength(first.message)).to.be.within(4_000, 4_096);
    expect(second.message).to.equal("\ufffd\ufffd");
    expect(second.payload).to.equal(undefined);
  });
});

async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error instanceof DevmeshError ? error.reason : error;
  }
}
