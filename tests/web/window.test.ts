import { expect } from "chai";
import fc from "fast-check";
import {
  maxSpacerPx,
  overscanRows,
  scrollTopFor,
  spacerPx,
  type Viewport,
  windowOf,
} from "../../web/src/ui/log/window.ts";
import { breaksOf, RowLayout } from "../../web/src/ui/log/wrap.ts";

const rowPx = 20;
const views = fc.record({
  rows: fc.oneof(fc.nat(200), fc.nat(20_000_000)),
  heightPx: fc.integer({ min: rowPx, max: 2_000 }),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
});

function viewOf({ rows, heightPx, at }: { rows: number; heightPx: number; at: number }): Viewport {
  const scrollTop = Math.floor(Math.max(0, spacerPx(rows, rowPx) - heightPx) * at);
  return { rows, heightPx, rowPx, scrollTop };
}

describe("the window over a long list", () => {
  it("covers what is seen and not much more", () => {
    fc.assert(
      fc.property(views, (drawn) => {
        const view = viewOf(drawn);
        const { first, end, offsetPx } = windowOf(view);
        expect(first).to.be.at.least(0);
        expect(end).to.be.at.most(view.rows);
        expect(end - first).to.be.at.most(view.heightPx / rowPx + 2 + 2 * overscanRows);
        if (first > 0) expect(offsetPx).to.be.at.most(view.scrollTop);
        const bottom = offsetPx + (end - first) * rowPx;
        const isLast = end === view.rows;
        if (!isLast) expect(bottom).to.be.at.least(view.scrollTop + view.heightPx);
      }),
    );
  });

  it("shows the last row at the end, however long the list is", () => {
    for (const rows of [1, 100, 1_000_000, 20_000_000]) {
      const view = viewOf({ rows, heightPx: 600, at: 1 });
      const { first, end, offsetPx } = windowOf(view);
      expect(end).to.equal(rows);
      const bottom = offsetPx + (end - first) * rowPx;
      expect(bottom).to.be.closeTo(spacerPx(rows, rowPx), 1);
    }
  });

  it("goes to any row", () => {
    fc.assert(
      fc.property(views, fc.double({ min: 0, max: 0.999, noNaN: true }), (drawn, which) => {
        const view = viewOf({ ...drawn, rows: drawn.rows + 1 });
        const row = Math.floor(view.rows * which);
        for (const place of ["start", "center", "nearest"] as const) {
          const scrollTop = scrollTopFor(row, view, place);
          const { first, end, offsetPx } = windowOf({ ...view, scrollTop });
          expect(row).to.be.at.least(first);
          expect(row).to.be.below(end);
          const top = offsetPx + (row - first) * rowPx - Math.max(0, scrollTop);
          expect(top).to.be.within(-1, view.heightPx - rowPx + 1);
        }
      }),
    );
  });

  it("stays when the row is seen already", () => {
    const view = { rows: 1_000, heightPx: 400, rowPx, scrollTop: 2_000 };
    expect(scrollTopFor(105, view, "nearest")).to.equal(2_000);
    expect(scrollTopFor(105, view, "center")).to.equal(2_000);
    expect(scrollTopFor(105, view, "start")).to.equal(2_100);
  });

  it("never makes an element that browsers cannot lay out", () => {
    expect(spacerPx(100_000_000, rowPx)).to.equal(maxSpacerPx);
  });
});

describe("wrapped lines", () => {
  it("break so that each row fits and nothing is lost", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.integer({ min: 8, max: 40 }),
        (text, columns) => {
          const breaks = breaksOf(text, columns);
          const rows = [0, ...breaks].map((from, at) => text.slice(from, breaks[at]));
          expect(rows.join("")).to.equal(text);
          for (const row of rows.slice(0, -1)) expect(row).not.to.equal("");
        },
      ),
    );
    expect(breaksOf("abcdefgh", 3)).to.deep.equal([3, 6]);
    expect(breaksOf("日本語", 4)).to.deep.equal([2]);
    expect(breaksOf("a\tb", 8)).to.deep.equal([2]);
  });

  it("know their rows, also while the last one grows", () => {
    const texts = ["short", "a".repeat(25), "b"];
    let open: number[] = [];
    const lines = {
      get length() {
        return texts.length;
      },
      text: (row: number) => texts[row] ?? "",
      openRows: () => open,
    };
    const layout = new RowLayout(lines, 10);
    layout.sync();
    expect(layout.rows).to.equal(5);
    expect([0, 1, 2, 3, 4].map((row) => layout.lineAt(row))).to.deep.equal([0, 1, 1, 1, 2]);
    expect(layout.rowOf(2)).to.equal(4);
    texts[2] = "b".repeat(11);
    open = [2];
    layout.sync();
    expect(layout.rows).to.equal(6);
  });
});
