/** Records in an agent's standard error: found whatever the chunks, and rubbish stays log. */
import { expect } from "chai";
import fc from "fast-check";
import { type AgentRecord, AgentRecordSplitter } from "../../services/vm/runner/agent/records.ts";

/** What a stream holds, cut as given: the records, and the log in one piece. */
function split(chunks: readonly Uint8Array[]): { records: AgentRecord[]; log: string } {
  const splitter = new AgentRecordSplitter();
  const parts = chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk)));
  parts.push(splitter.end());
  const records = parts.flatMap((part) => (Buffer.isBuffer(part) ? [] : [part]));
  const log = Buffer.concat(parts.filter((part) => Buffer.isBuffer(part))).toString("latin1");
  return { records, log };
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = [...at.map((n) => n % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

const note = (message: string) => ({ type: "note", level: "warn", topic: "agent.call", message });
const record = (value: unknown) => `\x1e${JSON.stringify(value)}\n`;

describe("agent records", () => {
  it("are the same however the stream is cut", () => {
    const piece = fc.oneof(
      fc.string().map((text) => text.replaceAll("\x1e", "")),
      fc.string().map((text) => record(note(text))),
      fc.json().map((json) => `\x1e${json}\n`),
      fc.constant(record({ type: "report", finished: true, steps: 3 })),
      fc.constant("\x1e{broken\n"),
    );
    const cuts = fc.array(fc.nat(), { maxLength: 20 });
    fc.assert(
      fc.property(fc.array(piece), cuts, (pieces, at) => {
        const bytes = Buffer.from(pieces.join(""));
        expect(split(cut(bytes, at))).to.deep.equal(split([bytes]));
      }),
    );
  });

  it("never lose or make a byte of what is no record", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (chunks) => {
        const { records, log } = split(chunks);
        // Random bytes hold no record of ours.
        expect(records).to.deep.equal([]);
        expect(log).to.equal(Buffer.concat(chunks).toString("latin1"));
      }),
    );
  });

  it("stand apart from the log around them", () => {
    const { records, log } = split([Buffer.from(`before\n${record(note("m"))}after`)]);
    expect(log).to.equal("before\nafter");
    expect(records).to.deep.equal([
      { type: "note", note: { level: "warn", topic: "agent.call", message: "m" } },
    ]);
  });

  for (const rubbish of ["\x1enull\n", "\x1e[]\n", '\x1e{"type":"other"}\n', "\x1e\n", "\x1e{"]) {
    it(`leave ${JSON.stringify(rubbish)} in the log as it is`, () => {
      expect(split([Buffer.from(rubbish)])).to.deep.equal({ records: [], log: rubbish });
    });
  }

  it("leave a record without an end in the log", () => {
    const endless = Buffer.concat([Buffer.from("\x1e{"), Buffer.alloc(3 << 20, "x")]);
    const { records, log } = split(cut(endless, [100, 1 << 20, 2 << 20]));
    expect(records).to.deep.equal([]);
    expect(log).to.have.length(endless.length);
  });

  it("bound what an agent reports", () => {
    const wild = { steps: 1e300, inputTokens: -1, outputTokens: "7", summary: 5, finished: 1 };
    const [first] = split([Buffer.from(record({ type: "report", ...wild }))]).records;
    expect(first).to.deep.equal({
      type: "report",
      report: {
        ...{ summary: "", steps: 0xffff_ffff, inputTokens: 0, outputTokens: 0, model: "" },
        ...{ finished: false, stopped: "", message: "", reason: "", costMicros: 0 },
        ...{ unpricedSteps: 0, used: 0, limit: 0, commands: [] },
      },
    });
  });

  for (const topic of ["agent.resume", "agent.harness", "agent.end", "agent.tests", "sandbox"]) {
    it(`do not speak for the runner by the topic ${topic}`, () => {
      const [first] = split([Buffer.from(record({ type: "note", topic, message: "m" }))]).records;
      expect(first).to.deep.equal({
        type: "note",
        note: { level: "info", topic: "agent", message: "m" },
      });
    });
  }
});
