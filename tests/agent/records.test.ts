/** What the runner and people read: records that parse, lines that are lines, no secrets. */
import { expect } from "chai";
import fc from "fast-check";
import {
  type AgentInput,
  InputError,
  parseInput,
  readSettings,
} from "../../agents/coder/src/input.ts";
import { Progress } from "../../agents/coder/src/progress.ts";
import { Records } from "../../agents/coder/src/records.ts";
import { cutBytes, headAndTail, oneLine, printable } from "../../agents/coder/src/text.ts";
import { turnOf } from "./fake-model.ts";

/** Records that are kept. */
function recordsOf(secrets: readonly string[] = []) {
  const written = { out: "", err: "" };
  const records = new Records({
    out: (text) => {
      written.out += text;
    },
    err: (text) => {
      written.err += text;
    },
    secrets,
  });
  return { records, written };
}

const anyText = () => fc.string({ unit: "binary", maxLength: 400 });
/** UTF-16 with halves of characters, as they come out of a cut. */
const brokenText = () =>
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 200 })
    .map((units) => String.fromCharCode(...units));

describe("records", () => {
  it("property: any text makes one line and one JSON text sequence", () => {
    fc.assert(
      fc.property(brokenText(), (text) => {
        const { records, written } = recordsOf();
        records.say(text);
        records.note("agent.call", "warn", text, { tool: text });
        expect(written.out).to.match(/^[^\p{Cc}]*\n$/u);
        expect(written.err.lastIndexOf("\x1e")).to.equal(0);
        expect(written.err.indexOf("\n")).to.equal(written.err.length - 1);
        const record: unknown = JSON.parse(written.err.slice(1));
        expect(record).to.include({ type: "note", level: "warn", topic: "agent.call" });
        expect(written.err.isWellFormed()).to.equal(true);
      }),
    );
  });

  it("writes exactly one report, cut to what the contract allows", () => {
    const { records, written } = recordsOf();
    const progress = new Progress({ maxSteps: 1, maxTokens: 1, maxCostMicros: 0 });
    progress.add(turnOf({ model: "m".repeat(1000) }));
    records.report(progress.finished("é".repeat(100_000)));
    records.report(progress.stopped("error", "late"));
    const rows = written.err.split("\x1e").slice(1);
    expect(rows).to.have.length(1);
    const report = JSON.parse(rows[0] ?? "") as { summary: string; model: string };
    expect(Buffer.byteLength(report.summary)).to.equal(65_536);
    expect(report.model).to.have.length(256);
    expect(report).to.include({ type: "report", finished: true, stopped: "", steps: 1 });
  });

  it("bounds the words of a note to 4 KiB", () => {
    const { records, written } = recordsOf();
    records.note("agent.call", "info", "😀".repeat(5000), {});
    const { message } = JSON.parse(written.err.slice(1)) as { message: string };
    expect(Buffer.byteLength(message)).to.be.at.most(4096);
  });

  it("property: a secret is in nothing that is written, wherever a cut falls", () => {
    fc.assert(
      fc.property(anyText(), anyText(), (before, after) => {
        const { records, written } = recordsOf(["tok_0123456789", ""]);
        const text = `${before}tok_0123456789${after}`;
        records.say(text);
        records.note("agent.call", "info", text, { tool: text });
        records.report(
          new Progress({ maxSteps: 1, maxTokens: 1, maxCostMicros: 0 }).stopped("error", text),
        );
        expect(written.out + written.err).not.to.include("tok_01234");
      }),
    );
  });
});

describe("texts", () => {
  it("property: a cut keeps within the bytes and within characters", () => {
    fc.assert(
      fc.property(anyText(), fc.integer({ min: 0, max: 500 }), (text, maxBytes) => {
        const cut = cutBytes(text, maxBytes);
        expect(Buffer.byteLength(cut)).to.be.at.most(maxBytes);
        expect(text.toWellFormed().startsWith(cut)).to.equal(true);
        expect(Buffer.byteLength(cut)).to.be.at.least(
          Math.min(maxBytes, Buffer.byteLength(text)) - 3,
        );
      }),
    );
  });

  it("property: head and tail are the text's own", () => {
    fc.assert(
      fc.property(anyText(), fc.integer({ min: 2, max: 200 }), (text, maxBytes) => {
        const [head = "", tail] = headAndTail(text, maxBytes).split(
          /\n\[… \d+ bytes left out …\]\n/,
        );
        expect(text.startsWith(head)).to.equal(true);
        if (tail === undefined) expect(head).to.equal(text);
        else expect(text.endsWith(tail)).to.equal(true);
      }),
    );
  });

  it("takes away what a terminal would act on", () => {
    expect(printable("\x1b[31mred\x1b[0m\x07\r\nnext\tcell")).to.equal("red\nnext\tcell");
    expect(oneLine("  a\n\n b\x1b]0;title\x07 ")).to.equal("a b");
    expect(oneLine("abcdef", 4)).to.equal("abc…");
    expect(printable("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b(B\x1b[1;38:5:2mend")).to.equal(
      "link end",
    );
    expect(printable("\x1b]never ended\x1b")).to.equal("never ended");
  });

  it("cleans hostile text in time that grows with its length only", () => {
    // A quadratic reading of one of these would outlast any test's patience.
    for (const unit of ["\x1b]", "\x1b[", "\x1b[1;", "\x1b", "\x1b];", " ", "\x1b(", "\r"]) {
      printable(unit.repeat(500_000));
      oneLine(unit.repeat(500_000));
    }
  });
});

describe("input", () => {
  it("has its defaults, also for zero", () => {
    const wanted: AgentInput = {
      task: "t",
      model: "coding",
      testArgv: [],
      maxSteps: 40,
      maxTokens: 400_000,
      maxSeconds: 1700,
      maxRetries: 5,
      maxContextBytes: 131_072,
      contextText: "",
      tools: undefined,
      maxCostMicros: 0,
      protectedPaths: [],
      toolProtocol: "auto",
      checkpoints: false,
      resume: undefined,
    };
    expect(parseInput({ task: "t" })).to.deep.equal(wanted);
    const zero = { maxSteps: 0, maxTokens: 0, maxSeconds: 0, contextPack: null, later: "field" };
    expect(parseInput({ task: "t", ...zero })).to.deep.equal(wanted);
  });

  it("names what is wrong", () => {
    const cases: readonly [unknown, string][] = [
      [[], "the input: must be an object"],
      [{}, "task: must not be empty"],
      [{ task: 1 }, "task: must be a text"],
      [{ task: "t", testArgv: "x" }, "testArgv: must be a list of texts"],
      [{ task: "t", tools: ["a", 1] }, "tools[1]: must be a text"],
      [{ task: "t", maxSteps: -1 }, "maxSteps: must be a whole number from 0"],
      [{ task: "t", contextPack: { text: 1 } }, "contextPack.text: must be a text"],
    ];
    for (const [value, words] of cases) {
      expect(() => parseInput(value), words).to.throw(InputError, words);
    }
    expect(() => readSettings({})).to.throw(InputError, "BACKEND_URL is not set");
  });
});
