/** The threat model names what shows each of its lines: an attempt that is tried, or a test that is there. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { attempts } from "../../attack/attempts/index.ts";

const root = join(import.meta.dirname, "..", "..");
const text = readFileSync(join(root, "docs", "threat-model.md"), "utf8");

/** The rows of the table under a heading, their cells trimmed, without its two lines of head. */
function rowsUnder(heading: string): string[][] {
  const section = text.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
  const lines = section.split("\n").filter((line) => line.startsWith("|"));
  return lines.slice(2).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What stands in backticks. */
function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map((found) => found[1] ?? "");
}

const known = new Set(attempts.map(({ name }) => name));

/** Why a name of the last column shows nothing; undefined if it does. */
function fault(name: string): string | undefined {
  if (known.has(name)) return undefined;
  if (!/^tests\/[\w/.-]+\.test\.ts$/.test(name)) return `${name} is no attempt and no test`;
  return existsSync(join(root, name)) ? undefined : `${name} is not there`;
}

describe("the threat model", () => {
  const rows = rowsUnder("Line by line");

  it("shows each line by attempts or tests that exist", () => {
    expect(rows.length).to.be.greaterThan(15);
    for (const cells of rows) {
      const [what = "", , shown = ""] = cells;
      expect(cells, what).to.have.length(3);
      const names = namesIn(shown).filter((name) => !name.startsWith("npm run "));
      expect(names, what).to.not.be.empty;
      expect(
        names.map(fault).filter((found) => found !== undefined),
        what,
      ).to.deep.equal([]);
    }
  });

  it("names every attempt in one of its lines", () => {
    const named = new Set(rows.flatMap((cells) => namesIn(cells[2] ?? "")));
    const missing = [...known].filter((name) => !named.has(name));
    expect(missing).to.deep.equal([]);
  });

  it("is summed up by a specification whose tests are all there", () => {
    const specification = readFileSync(join(root, "SPECIFICATION.md"), "utf8");
    const tests = [...specification.matchAll(/tests\/[\w/.-]+\.test\.ts/g)].map(([path]) => path);
    expect(tests.length).to.be.greaterThan(5);
    expect(tests.filter((path) => !existsSync(join(root, path)))).to.deep.equal([]);
  });

  it("would not accept a name that nothing has", () => {
    expect(fault("read-host-files")).to.include("no attempt");
    expect(fault("tests/vm/none.test.ts")).to.include("not there");
  });
});
