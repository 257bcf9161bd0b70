/** Bytes that are lost, doubled or foreign are counted, wherever they are. */
import { expect } from "chai";
import fc from "fast-check";
import { compareBytes } from "../../chaos/compare-bytes.ts";
import { expectedOutput } from "../../chaos/work.ts";

const whole = expectedOutput({ kind: "binary", tag: "chaos-b", count: 300, pauseMs: 0 }).stdout;
const place = fc.integer({ min: 0, max: whole.length });
const range = fc.tuple(place, place).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

describe("comparing bytes", () => {
  it("finds nothing in equal bytes, and every lost run", () => {
    fc.assert(
      fc.property(range, ([from, to]) => {
        const actual = Buffer.concat([whole.subarray(0, from), whole.subarray(to)]);
        const found = compareBytes(whole, actual);
        expect(found).to.deep.equal({ lost: to - from, doubled: 0, altered: 0 });
      }),
    );
  });

  it("counts every doubled run", () => {
    fc.assert(
      fc.property(range, ([from, to]) => {
        const actual = Buffer.concat([whole.subarray(0, to), whole.subarray(from)]);
        const found = compareBytes(whole, actual);
        expect(found).to.deep.equal({ lost: 0, doubled: to - from, altered: 0 });
      }),
    );
  });

  it("lets the end be missing where that is allowed, and nothing else", () => {
    fc.assert(
      fc.property(place, (to) => {
        const none = { lost: 0, doubled: 0, altered: 0 };
        const actual = whole.subarray(0, to);
        expect(compareBytes(whole, actual, { prefix: true })).to.deep.equal(none);
        const spoiled = Buffer.concat([actual, Buffer.from("#")]);
        expect(compareBytes(whole, spoiled, { prefix: true }).altered).to.be.greaterThan(0);
      }),
    );
  });

  it("sees a byte that is another one", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length - 1 }), (at) => {
        const actual = Buffer.from(whole);
        actual[at] = (actual[at] ?? 0) ^ 0x55;
        const { lost, doubled, altered } = compareBytes(whole, actual);
        expect(lost + doubled + altered).to.be.greaterThan(0);
      }),
    );
  });
});
