import { expect } from "chai";
import fc from "fast-check";
import { parseAnsi, plain, stripAnsi, styleAfter } from "../../web/src/ui/log/ansi.ts";
import { lookOf, rgbOf } from "../../web/src/ui/log/ansi-look.ts";
import { contrast, legible } from "../../web/src/ui/log/contrast.ts";
import { overwrite } from "../../web/src/ui/log/overwrite.ts";

const esc = "\x1b";
// biome-ignore lint/suspicious/noControlCharactersInRegex: text without them is what is wanted
const controls = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;

/** Text as programs write it: words, colours, other escapes, all of it cut anywhere. */
const pieces = fc.array(
  fc.oneof(
    fc.string(),
    fc.constantFrom(
      "\x1b[31m",
      "\x1b[1;38;5;208m",
      "\x1b[0m",
      "\x1b[2K",
      "\x1b]0;title\x07",
      "\x1b",
    ),
    fc.constantFrom("\x1b[38;2;1;2;3m", "\x1b(B", "\x1b[?25l", "\x1b]8;;http://x\x1b\\", "\x9b1m"),
  ),
);

describe("ANSI escapes", () => {
  it("leaves text without escapes unchanged", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const clean = text.replace(controls, "");
        const expected = clean === "" ? [] : [{ text: clean, style: plain }];
        expect(parseAnsi(clean).runs).to.deep.equal(expected);
      }),
    );
  });

  it("has the same text in its runs as without escapes", () => {
    fc.assert(
      fc.property(pieces, (parts) => {
        const line = parts.join("").replaceAll("\n", "");
        const { runs, end } = parseAnsi(line);
        expect(runs.map(({ text }) => text).join("")).to.equal(stripAnsi(line));
        expect(stripAnsi(line)).not.to.match(controls);
        expect(styleAfter(line, plain)).to.deep.equal(end);
      }),
    );
  });

  const cases: [string, string, object][] = [
    ["16 colours", `${esc}[31mx`, { fg: 1 }],
    ["bright colours", `${esc}[92;101mx`, { fg: 10, bg: 9 }],
    ["256 colours", `${esc}[38;5;208mx`, { fg: 208 }],
    ["24-bit colours", `${esc}[48;2;16;32;255mx`, { bg: "#1020ff" }],
    [
      "24-bit colours with colons and a colour space",
      `${esc}[38:2::16:32:255mx`,
      { fg: "#1020ff" },
    ],
    [
      "attributes",
      `${esc}[1;3;4;7;9mx`,
      { bold: true, italic: true, underline: true, inverse: true, strike: true },
    ],
    ["an end of attributes", `${esc}[1;2;22;31;39mx`, {}],
    ["an empty code as a reset", `${esc}[31m${esc}[mx`, {}],
    ["a curly underline as an underline", `${esc}[4:3mx`, { underline: true }],
  ];
  for (const [name, line, style] of cases) {
    it(`reads ${name}`, () => {
      expect(parseAnsi(line).runs).to.deep.equal([{ text: "x", style }]);
    });
  }

  it("strips escapes that are no colours, also cut ones", () => {
    const line = `a${esc}[2Kb${esc}]0;title\x07c${esc}]8;;http://x${esc}\\d${esc}(Be${esc}[?25lf\bg${esc}[3`;
    expect(stripAnsi(line)).to.equal("abcdefg");
  });

  it("carries a style on to the next line", () => {
    const { end } = parseAnsi(`${esc}[32mone`);
    expect(parseAnsi("two", end).runs).to.deep.equal([{ text: "two", style: { fg: 2 } }]);
  });

  it("leaves 16 colours to the theme and knows the values of the others", () => {
    expect(rgbOf(3)).to.equal(undefined);
    expect(rgbOf(16)).to.deep.equal([0, 0, 0]);
    expect(rgbOf(208)).to.deep.equal([255, 135, 0]);
    expect(rgbOf(255)).to.deep.equal([238, 238, 238]);
    expect(rgbOf("#1020ff")).to.deep.equal([16, 32, 255]);
    expect(lookOf({ fg: 3, bold: true })).to.deep.equal({
      class: "a-bold",
      style: { color: "var(--ansi-3)" },
    });
    expect(lookOf({ fg: 1, inverse: true }).style).to.deep.equal({
      color: "var(--log-bg)",
      "background-color": "var(--ansi-1)",
    });
  });

  it("moves a colour only as far as it must to be legible", () => {
    const channel = fc.nat(255);
    const color = fc.tuple(channel, channel, channel);
    fc.assert(
      fc.property(color, color, (front, ground) => {
        const moved = legible(front, ground);
        expect(contrast(moved, ground)).to.be.at.least(4.5);
        if (contrast(front, ground) >= 4.5) expect(moved).to.deep.equal(front);
      }),
    );
  });
});

describe("a carriage return", () => {
  it("lets later text overwrite earlier text", () => {
    expect(overwrite("50 %", "100 %")).to.equal("100 %");
    expect(overwrite("12345", "ab")).to.equal(`ab${esc}[0m345`);
    expect(stripAnsi(overwrite("12345", `${esc}[31mab`))).to.equal("ab345");
    expect(overwrite("12345", "")).to.equal("12345");
  });

  it("clears what an erase clears", () => {
    expect(overwrite("12345", `ab${esc}[K`)).to.equal(`ab${esc}[K`);
    expect(overwrite("12345", `${esc}[2Kab`)).to.equal("ab");
  });
});
