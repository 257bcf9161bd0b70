import { expect } from "chai";
import fc from "fast-check";
import { createMatcher, Finder, type Matcher } from "../../web/src/ui/log/find.ts";
import { LineStore } from "../../web/src/ui/log/line-store.ts";
import { segmentsOf } from "../../web/src/ui/log/segments.ts";

function matcherOf(text: string, options: { matchCase?: boolean; regex?: boolean } = {}): Matcher {
  const matcher = createMatcher({ text, ...options });
  if (typeof matcher !== "function") throw new Error(matcher.error);
  return matcher;
}

describe("finding in a log", () => {
  it("reads plain text literally and patterns as patterns", () => {
    expect(matcherOf("a.c")("abc a.c A.C")).to.deep.equal([
      [4, 7],
      [8, 11],
    ]);
    expect(matcherOf("a.c", { regex: true, matchCase: true })("abc a.c A.C")).to.have.length(2);
    expect(createMatcher({ text: "(", regex: true })).to.have.property("error");
    expect(matcherOf("x*", { regex: true })("aaa")).to.deep.equal([]);
  });

  it("counts exactly, whatever the slices and however the lines come", () => {
    const chunks = fc.array(
      fc.record({
        source: fc.constantFrom("stdout" as const, "stderr" as const),
        text: fc.array(fc.constantFrom("ab", "a", "b", "\n", " ")).map((parts) => parts.join("")),
      }),
    );
    fc.assert(
      fc.property(chunks, fc.integer({ min: 1, max: 5 }), (parts, slice) => {
        const store = new LineStore();
        const matcher = matcherOf("ab");
        const finder = new Finder(store, matcher);
        for (const { source, text } of parts) {
          store.append(source, text, 1);
          finder.step(slice);
        }
        store.end();
        while (finder.step(slice));
        const hits: string[] = [];
        for (let row = 0; row < store.length; row++) {
          for (const ordinal of matcher(store.text(row)).keys()) hits.push(`${row}.${ordinal}`);
        }
        expect(finder.count).to.equal(hits.length);
        const found = hits.map((_, index) => finder.hit(index));
        expect(found.map((hit) => `${hit?.row}.${hit?.ordinal}`)).to.deep.equal(hits);
      }),
    );
  });

  it("starts at the line that is looked at, and around the end at the first", () => {
    const store = new LineStore();
    store.append("stdout", "x\n\nx x\n\n", 1);
    const finder = new Finder(store, matcherOf("x"));
    finder.step(100);
    expect(finder.indexFrom(1)).to.equal(1);
    expect(finder.indexFrom(3)).to.equal(0);
    expect(finder.hit(3)).to.equal(undefined);
  });

  it("cuts a line at styles, matches and breaks without losing a character", () => {
    const runs = [
      { text: "abcd", style: {} },
      { text: "efgh", style: { fg: 1 } },
    ];
    const rows = segmentsOf(runs, [[3, 6]], [5]);
    expect(rows.map((row) => row.map(({ text, match }) => [text, match]))).to.deep.equal([
      [
        ["abc", undefined],
        ["d", 0],
        ["e", 0],
      ],
      [
        ["f", 0],
        ["gh", undefined],
      ],
    ]);
  });
});
