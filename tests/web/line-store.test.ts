import { expect } from "chai";
import fc from "fast-check";
import { stripAnsi } from "../../web/src/ui/log/ansi.ts";
import { LineStore } from "../../web/src/ui/log/line-store.ts";

function texts(store: LineStore): string[] {
  return Array.from({ length: store.length }, (_, row) => stripAnsi(store.text(row)));
}

/** Cuts text at the given places. */
function cut(text: string, places: readonly number[]): string[] {
  const sorted = [...new Set(places.map((place) => place % (text.length + 1)))].sort(
    (a, b) => a - b,
  );
  return [0, ...sorted].map((from, at) => text.slice(from, sorted[at] ?? text.length));
}

describe("a log's lines", () => {
  it("do not depend on where the output was cut", () => {
    const output = fc
      .array(fc.constantFrom("a", "bc", "\n", "\r", "\r\n", "\x1b[31m", "\x1b[K", "\t", "é", "🚀"))
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(output, fc.array(fc.nat()), (text, places) => {
        const whole = new LineStore();
        whole.append("stdout", text, 1);
        const pieces = new LineStore();
        for (const piece of cut(text, places)) pieces.append("stdout", piece, 1);
        expect(texts(pieces)).to.deep.equal(texts(whole));
        for (const store of [whole, pieces]) store.end();
        expect(texts(pieces)).to.deep.equal(texts(whole));
      }),
    );
  });

  it("are those between the line ends when nothing else is in them", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme-ascii" })), (lines) => {
        const store = new LineStore();
        store.append("stdout", lines.map((line) => `${line}\n`).join(""), 1);
        expect(texts(store)).to.deep.equal(lines);
      }),
    );
  });

  it("keep two outputs apart, in the order in which lines begin", () => {
    const store = new LineStore();
    store.append("stdout", "out…", 1);
    store.append("stderr", "err\n", 2);
    store.append("stdout", "done\nnext", 3);
    expect(texts(store)).to.deep.equal(["out…done", "err", "next"]);
    expect([0, 1, 2].map((row) => store.source(row))).to.deep.equal(["stdout", "stderr", "stdout"]);
    expect([0, 1, 2].map((row) => store.timeMs(row))).to.deep.equal([1, 2, 3]);
    expect(store.openRows()).to.deep.equal([2]);
  });

  it("show only the last of a progress line", () => {
    const store = new LineStore();
    for (const done of ["10 %", "50 %", "100 %"]) store.append("stdout", `\r${done}`, 1);
    store.append("stdout", "\r\nnext\r\n", 1);
    expect(texts(store)).to.deep.equal(["100 %", "next"]);
  });

  it("start in the style in which the line before ended, for each output", () => {
    const store = new LineStore();
    store.append("stdout", "\x1b[31mred\nstill red\x1b[0m\nplain\n", 1);
    store.append("stderr", "other\n", 1);
    expect(store.startStyle(1)).to.deep.equal({ fg: 1 });
    expect(store.startStyle(2)).to.deep.equal({});
    expect(store.startStyle(3)).to.deep.equal({});
  });

  it("leave the console's own remarks out of the output", () => {
    const store = new LineStore();
    store.append("stdout", "one", 1);
    store.mark("attempt 2", 2);
    store.append("stdout", "two\n", 3);
    expect(texts(store)).to.deep.equal(["one", "attempt 2", "two"]);
    expect(store.join(stripAnsi)).to.equal("one\ntwo");
  });
});
