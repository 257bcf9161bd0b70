/** The tool search: ripgrep and the agent's own walk give the same answer. */
import { spawnSync } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { compileGlob } from "../../agents/coder/src/tools/glob.ts";
import { Jail } from "../../agents/coder/src/tools/jail.ts";
import { createSearch } from "../../agents/coder/src/tools/search.ts";
import { ArgumentError, Arguments, ToolError } from "../../agents/coder/src/tools/tool.ts";
import { TempFolders } from "./temp-folder.ts";

const hasRipgrep = spawnSync("rg", ["--version"]).status === 0;

for (const ripgrep of [false, true]) {
  describe(`search with ${ripgrep ? "ripgrep" : "its own walk"}`, function () {
    this.timeout(60_000);
    const folders = new TempFolders();
    let root: string;

    before(function () {
      if (ripgrep && !hasRipgrep) {
        console.log("      skipped: ripgrep is not installed");
        this.skip();
      }
    });
    beforeEach(async () => {
      root = await folders.make();
      for (const folder of ["src/deep", "node_modules/x", ".git", "test"]) {
        await mkdir(join(root, folder), { recursive: true });
      }
      const files: Readonly<Record<string, string | Uint8Array>> = {
        "src/a.ts": "const one = 1;\n  const two = 2;\n",
        "src/deep/b.ts": "x\r\nconst three = 3;\r\n",
        "src/c.js": "const four = 4;",
        "test/a.test.ts": "const five = 5;\n",
        ".hidden": "const six = 6;\n",
        "node_modules/x/i.js": "const seven = 7;\n",
        ".git/config": "const eight = 8;\n",
        "src/binary": Buffer.from("\0const nine = 9;\n"),
        "src/large": `${"y".repeat(2 * 1024 * 1024)}\nconst ten = 10;\n`,
        "--flag": "const eleven = 11;\n",
      };
      for (const [path, content] of Object.entries(files))
        await writeFile(join(root, path), content);
      await symlink("src", join(root, "to-src"));
      await symlink("/etc", join(root, "to-etc"));
    });
    afterEach(() => folders.clear());

    async function search(args: Readonly<Record<string, unknown>>): Promise<string[]> {
      const tool = createSearch({ jail: await Jail.open(root), env: process.env, ripgrep });
      const signal = new AbortController().signal;
      const found = await tool.run(Arguments.parse(JSON.stringify(args)), { signal });
      return String(found).split("\n");
    }

    it("finds lines in files of people's own, in order", async () => {
      expect(await search({ pattern: "const (\\w+) = \\d+;$" })).to.deep.equal([
        "--flag:1: const eleven = 11;",
        ".hidden:1: const six = 6;",
        "src/a.ts:1: const one = 1;",
        "src/a.ts:2:   const two = 2;",
        "src/c.js:1: const four = 4;",
        "src/deep/b.ts:2: const three = 3;",
        "test/a.test.ts:1: const five = 5;",
      ]);
    });

    it("takes a path and a glob", async () => {
      const inDeep = await search({ pattern: "const", path: "src/deep" });
      expect(inDeep).to.deep.equal(["src/deep/b.ts:2: const three = 3;"]);
      expect(await search({ pattern: "two", path: "src/a.ts" })).to.have.length(1);
      expect(await search({ pattern: "const t", glob: "src/**/*.ts" })).to.deep.equal([
        "src/a.ts:2:   const two = 2;",
        "src/deep/b.ts:2: const three = 3;",
      ]);
      expect(await search({ pattern: "const", glob: "*.{js,test.ts}" })).to.deep.equal([
        "src/c.js:1: const four = 4;",
        "test/a.test.ts:1: const five = 5;",
      ]);
      expect(await search({ pattern: "nowhere" })).to.deep.equal(["no line matches"]);
    });

    it("bounds its answer", async () => {
      await writeFile(join(root, "many"), "needle\n".repeat(300));
      await writeFile(join(root, "wide"), `needle${"w".repeat(10_000)}\n`);
      const lines = await search({ pattern: "needle" });
      expect(lines).to.have.length(201);
      expect(lines.at(-1)).to.include("more than 200 lines match");
      expect((await search({ pattern: "needlew" }))[0]).to.have.length.below(400);
    });

    it("says what is wrong with a pattern", async () => {
      for (const args of [{ pattern: "(" }, { pattern: "x", glob: "[z-a]" }]) {
        const error = await search(args).then(
          () => undefined,
          (cause: unknown) => cause,
        );
        expect(error, JSON.stringify(args)).to.be.instanceOf(ArgumentError);
      }
    });

    it("is not blocked by a pattern that backtracks for ever", async () => {
      await writeFile(join(root, "trap"), `${"a".repeat(60)}!\n`);
      const answer = await search({ pattern: "^(a+)+$", path: "trap" }).catch((cause: unknown) => {
        expect(cause).to.be.instanceOf(ToolError);
        return ["no line matches"];
      });
      expect(answer).to.deep.equal(["no line matches"]);
    });
  });
}

describe("globs", () => {
  it("mean what they mean to ripgrep", () => {
    const cases: readonly [string, string, boolean][] = [
      ["*.ts", "a/b/c.ts", true],
      ["*.ts", "a/b/c.tsx", false],
      ["a/*.ts", "a/b/c.ts", false],
      ["a/**", "a/b/c.ts", true],
      ["a/**", "a", false],
      ["**/c.ts", "c.ts", true],
      ["/c.ts", "a/c.ts", false],
      ["[a-c].ts", "b.ts", true],
      ["[!a-c].ts", "b.ts", false],
      ["?.ts", "ab.ts", false],
      ["!*.ts", "a.js", true],
      ["a+(b).ts", "a+(b).ts", true],
      ["{a,b}/*.ts", "b/x.ts", true],
    ];
    for (const [glob, path, wanted] of cases) {
      expect(compileGlob(glob)(path), `${glob} on ${path}`).to.equal(wanted);
    }
  });

  it("property: a path's own name, escaped, matches it", () => {
    const name = fc.string({ minLength: 1 }).filter((text) => !/[/\0]/.test(text));
    fc.assert(
      fc.property(name, (text) => {
        const glob = text.replaceAll(/[^A-Za-z0-9]/g, "\\$&");
        expect(compileGlob(glob)(`folder/${text}`)).to.equal(true);
      }),
    );
  });
});
