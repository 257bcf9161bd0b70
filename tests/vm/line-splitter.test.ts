/** Lines out of chunks: cut anywhere, too long, unfinished; no byte is lost. */
import { expect } from "chai";
import fc from "fast-check";
import { LineSplitter } from "../../services/vm/runner/line-splitter.ts";

describe("line splitter", () => {
  it("gives whole lines, however they were cut", () => {
    const splitter = new LineSplitter(100);
    const seen = ["a", "b\nc", "d\n", "e\nf\ng"].flatMap((text) =>
      splitter.push(Buffer.from(text)).map(({ type, bytes }) => [type, bytes.toString()]),
    );
    expect(seen).to.deep.equal([
      ["line", "ab\n"],
      ["line", "cd\n"],
      ["line", "e\n"],
      ["line", "f\n"],
    ]);
    expect(splitter.end().toString()).to.equal("g");
  });

  it("passes a line on that is too long, and takes the next one again", () => {
    const splitter = new LineSplitter(4);
    const seen = ["abc", "def", "gh\nij\n"].flatMap((text) =>
      splitter.push(Buffer.from(text)).map(({ type, bytes }) => [type, bytes.toString()]),
    );
    expect(seen).to.deep.equal([
      ["bytes", "abcdef"],
      ["bytes", "gh\n"],
      ["line", "ij\n"],
    ]);
  });

  it("loses nothing and makes nothing up", () => {
    const text = fc.array(fc.constantFrom("a", "\n", "bcd"), { maxLength: 60 });
    fc.assert(
      fc.property(fc.array(text), fc.integer({ min: 1, max: 8 }), (chunks, maxBytes) => {
        const splitter = new LineSplitter(maxBytes);
        const texts = chunks.map((parts) => parts.join(""));
        const parts = texts.flatMap((chunk) => splitter.push(Buffer.from(chunk)));
        const all = Buffer.concat([...parts.map(({ bytes }) => bytes), splitter.end()]);
        expect(all.toString()).to.equal(texts.join(""));
        for (const { type, bytes } of parts) {
          if (type === "line") expect(bytes.indexOf(10)).to.equal(bytes.length - 1);
        }
      }),
      { seed: 7 },
    );
  });
});
