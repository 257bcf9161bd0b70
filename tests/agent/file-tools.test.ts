/** The tools on files: what the model gets, and what it is told when a call cannot be done. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { TempFolders } from "./temp-folder.ts";
import { type CallTool, toolsOf } from "./toolbox-for.ts";

describe("file tools", function () {
  this.timeout(60_000);
  const folders = new TempFolders();
  let root: string;
  let call: CallTool;

  beforeEach(async () => {
    root = await folders.make();
    call = await toolsOf(root);
  });
  afterEach(() => folders.clear());

  const put = async (path: string, text: string | Uint8Array) => writeFile(join(root, path), text);
  const get = (path: string) => readFile(join(root, path), "utf8");

  describe("read_file", () => {
    it("numbers the lines and takes a range", async () => {
      await put("f", "one\ntwo\nthree\n");
      expect((await call("read_file", { path: "f" })).text).to.equal("1: one\n2: two\n3: three");
      const range = await call("read_file", { path: "f", startLine: 2, endLine: "2" });
      expect(range.text).to.equal("2: two\n[the file has 3 lines]");
      expect((await call("read_file", { path: "f", endLine: 99 })).text).to.include("3: three");
    });

    it("bounds what it shows and says how to go on", async () => {
      await put("long", "x\n".repeat(5000));
      const { text } = await call("read_file", { path: "long" });
      expect(text.split("\n")).to.have.length(1001);
      expect(text).to.match(/\[lines 1001 to 5000 are not shown; use startLine\]$/);
      await put("wide", "y".repeat(100_000));
      expect((await call("read_file", { path: "wide" })).text).to.have.length.below(1100);
    });

    it("says why it cannot", async () => {
      await mkdir(join(root, "folder"));
      await put("binary", Buffer.from([1, 0, 2]));
      await put("latin", Buffer.from([0x61, 0xe9, 0x62]));
      await put("large", "z".repeat(2 * 1024 * 1024 + 1));
      await put("f", "one");
      execFileSync("mkfifo", [join(root, "pipe")]);
      const cases: readonly [Record<string, unknown>, string][] = [
        [{ path: "none" }, "none: there is no such file or folder"],
        [{ path: "folder" }, "folder: is a folder; use list_files"],
        [{ path: "binary" }, "binary: is a binary file"],
        [{ path: "latin" }, "latin: is not UTF-8 text"],
        [{ path: "large" }, "large: has 2097153 bytes, more than 2097152"],
        [{ path: "pipe" }, "pipe: is not a regular file"],
        [{ path: "f", startLine: 2 }, "f: has 1 lines; startLine is 2"],
        [{ path: "f", startLine: 3, endLine: 1 }, "endLine 1 is before startLine 3"],
      ];
      for (const [args, words] of cases) {
        expect(await call("read_file", args)).to.deep.equal({
          outcome: "failed",
          text: `error: ${words}`,
        });
      }
    });
  });

  describe("list_files", () => {
    it("lists files, folders and links in order, without other people's code", async () => {
      await mkdir(join(root, "src", "deep"), { recursive: true });
      await mkdir(join(root, "node_modules", "x"), { recursive: true });
      await mkdir(join(root, ".git"));
      await put("src/deep/b.js", "12345");
      await put("src/a.js", "");
      await put(".hidden", "1");
      await symlink("src", join(root, "to-src"));
      expect((await call("list_files", {})).text.split("\n")).to.deep.equal([
        ".hidden (1)",
        "src/",
        "src/a.js (0)",
        "src/deep/",
        "src/deep/b.js (5)",
        "to-src -> src",
      ]);
      expect((await call("list_files", { path: "src/deep" })).text).to.equal("src/deep/b.js (5)");
    });

    it("bounds the list", async () => {
      for (let i = 0; i < 1001; i++) await put(`f${i}`, "");
      const lines = (await call("list_files", {})).text.split("\n");
      expect(lines).to.have.length(1001);
      expect(lines.at(-1)).to.include("more than 1000 entries");
    });

    it("says why it cannot", async () => {
      await put("f", "");
      expect((await call("list_files", { path: "f" })).text).to.equal("error: f: is not a folder");
      expect((await call("list_files", { path: "none" })).outcome).to.equal("failed");
    });
  });

  describe("edit_file", () => {
    it("changes one place, takes replacement signs as they are, and keeps the mode", async () => {
      await put("f.sh", "one\ntwo\nthree\n");
      await chmod(join(root, "f.sh"), 0o750);
      const result = await call("edit_file", { path: "f.sh", oldText: "two", newText: "$& $1 2" });
      expect(result).to.deep.equal({
        outcome: "ok",
        text: "f.sh: changed at line 2; the new lines:\n1: one\n2: $& $1 2\n3: three",
      });
      expect(await get("f.sh")).to.equal("one\n$& $1 2\nthree\n");
      expect((await stat(join(root, "f.sh"))).mode & 0o777).to.equal(0o750);
    });

    it("refuses what is not there once, with the likeliest reason", async () => {
      await put("f", "a\n  b\na\nx\r\ny");
      const cases: readonly [string, string][] = [
        ["a", "in more than one place (lines 1 and 3)"],
        ["zzz", "read it again and copy the text exactly"],
        ["a\nb", "only spaces or line ends differ"],
        ["x\ny", "its lines end in \\r\\n"],
        ["2:   b", "leave out the line numbers"],
      ];
      for (const [oldText, words] of cases) {
        const result = await call("edit_file", { path: "f", oldText, newText: "n" });
        expect(result.outcome, oldText).to.equal("failed");
        expect(result.text).to.include(words);
      }
      expect(await get("f")).to.equal("a\n  b\na\nx\r\ny");
    });

    it("finds places that overlap", async () => {
      await put("f", "aaa");
      const result = await call("edit_file", { path: "f", oldText: "aa", newText: "b" });
      expect(result.text).to.include("in more than one place");
    });

    it("property: a unique text is replaced and nothing else changes", async () => {
      const text = fc.string({
        unit: fc.constantFrom("a", "b", "$", "\n", "\r", "é", "😀", "\ufeff"),
      });
      await fc.assert(
        fc.asyncProperty(text, text, text, text, async (before, oldText, after, newText) => {
          const whole = before + oldText + after;
          await put("f", whole);
          const result = await call("edit_file", { path: "f", oldText, newText });
          const isUnique = oldText !== "" && whole.indexOf(oldText) === whole.lastIndexOf(oldText);
          const done = isUnique && oldText !== newText;
          expect(result.outcome === "ok").to.equal(done);
          expect(await get("f")).to.equal(done ? before + newText + after : whole);
        }),
        { numRuns: 200 },
      );
    });
  });

  describe("write_file", () => {
    it("makes folders, says whether it replaced, and leaves no rest of a longer file", async () => {
      const args = { path: "a/b/c.txt", content: "long content" };
      expect((await call("write_file", args)).text).to.equal("a/b/c.txt: written, 12 bytes");
      const again = await call("write_file", { ...args, content: "é" });
      expect(again.text).to.equal("a/b/c.txt: replaced, 2 bytes");
      expect(await get("a/b/c.txt")).to.equal("é");
    });

    it("says why it cannot", async () => {
      await put("f", "");
      await mkdir(join(root, "folder"));
      const cases: readonly [string, string][] = [
        ["f/x", "is a file, not a folder"],
        ["folder", "is a folder"],
        ["folder/", "names a folder"],
        [".", "is a folder"],
        ["n".repeat(300), "the name is too long"],
      ];
      for (const [path, words] of cases) {
        const result = await call("write_file", { path, content: "x" });
        expect(result.outcome, path).to.equal("failed");
        expect(result.text).to.include(words);
      }
    });
  });

  it("answers calls that are wrong in themselves", async () => {
    const cases: readonly [string, Record<string, unknown>, string][] = [
      ["delete_file", {}, 'there is no tool "delete_file"; use one of list_files, read_file'],
      ["read_file", {}, "path: is missing; given: nothing"],
      ["read_file", { file: "x" }, "path: is missing; given: file"],
      ["read_file", { path: 7 }, "path: must be a text"],
      ["read_file", { path: "f", startLine: 0 }, "startLine: must be a whole number from 1"],
      ["edit_file", { path: "f", oldText: "", newText: "" }, "oldText: must not be empty"],
      ["write_file", { path: "f" }, "content: is missing; given: path"],
      ["run", { argv: "node --test" }, "argv: must be a list of texts"],
      ["run", { argv: [] }, "argv: must be a list of texts"],
      ["search", { pattern: "" }, "pattern: must not be empty"],
      ["finish", { summary: " " }, "summary: must not be empty"],
    ];
    for (const [name, args, words] of cases) {
      const result = await call(name, args);
      expect(result.outcome, name).to.equal("malformed");
      expect(result.text).to.include(`error: ${words}`);
    }
  });
});
