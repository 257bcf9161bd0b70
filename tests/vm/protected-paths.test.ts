/** Which changes are to files that had to stay as they were. */
import { expect } from "chai";
import { protectedChanges } from "../../services/vm/runner/workspace/protected-paths.ts";

describe("protected paths", () => {
  const paths = ["src/a.ts", "test/a.test.ts", "lib/test/b.ts", ".github/ci.yml", "tested.ts"];
  const of = (...globs: string[]) =>
    protectedChanges(
      paths.map((path) => ({ path })),
      globs,
    );

  for (const [glob, expected] of [
    ["test", ["test/a.test.ts", "lib/test/b.ts"]],
    ["test/", ["test/a.test.ts", "lib/test/b.ts"]],
    ["/test", ["test/a.test.ts"]],
    ["test/**", ["test/a.test.ts"]],
    ["lib/test", ["lib/test/b.ts"]],
    ["*.ts", ["src/a.ts", "test/a.test.ts", "lib/test/b.ts", "tested.ts"]],
    [".github", [".github/ci.yml"]],
    ["nosuch", []],
  ] as const) {
    it(`are those of ${glob}`, () => {
      expect(of(glob)).to.deep.equal(expected);
    });
  }
});
