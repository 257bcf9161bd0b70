/** The tool `apply_patch`: both forms, exact context, all or nothing. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { createTwoFilesPatch } from "diff";
import fc from "fast-check";
import { TempFolders } from "./temp-folder.ts";
import { type CallTool, toolsOf } from "./toolbox-for.ts";

describe("apply_patch", function () {
  this.timeout(60_000);
  const folders = new TempFolders();
  let root: string;
  let call: CallTool;

  beforeEach(async () => {
    root = await folders.make();
    call = await toolsOf(root);
  });
  afterEach(() => folders.clear());

  const put = (path: string, text: string) => writeFile(join(root, path), text);
  const get = (path: string) => readFile(join(root, path), "utf8");
  const apply = (patch: string) => call("apply_patch", { patch });
  const envelope = (body: string) => apply(`*** Begin Patch\n${body}\n*** End Patch`);

  it("adds, changes, moves and deletes in one patch", async () => {
    await put("a.txt", "one\ntwo\nthree\n");
    await put("old.sh", "#!/bin/sh\necho old\n");
    await chmod(join(root, "old.sh"), 0o755);
    await put("gone.txt", "x\n");
    const body = [
      "*** Add File: new/b.txt",
      "+fresh",
      "*** Update File: a.txt",
      "@@",
      " one",
      "-two",
      "+2",
      "*** Update File: old.sh",
      "*** Move to: bin/new.sh",
      "-echo old",
      "+echo new",
      "*** Delete File: gone.txt",
    ];
    const { outcome, text } = await envelope(body.join("\n"));
    expect(outcome, text).to.equal("ok");
    expect(await get("new/b.txt")).to.equal("fresh\n");
    expect(await get("a.txt")).to.equal("one\n2\nthree\n");
    expect(await get("bin/new.sh")).to.equal("#!/bin/sh\necho new\n");
    expect((await stat(join(root, "bin/new.sh"))).mode & 0o777).to.equal(0o755);
    expect((await readdir(root)).sort()).to.deep.equal(["a.txt", "bin", "new"]);
  });

  it("changes nothing if one file does not fit", async () => {
    await put("a.txt", "one\n");
    await put("b.txt", "two\n");
    const bad = [
      "*** Update File: a.txt\n-one\n+1\n*** Update File: b.txt\n-three\n+3",
      "*** Update File: a.txt\n-one\n+1\n*** Add File: b.txt\n+x",
      "*** Update File: a.txt\n-one\n+1\n*** Delete File: none.txt",
      "*** Update File: a.txt\n-one\n+1\n*** Add File: ../out.txt\n+x",
      "*** Update File: a.txt\n-one\n+1\n*** Update File: ./a.txt\n-one\n+2",
      "*** Update File: a.txt\n-one\n+1\n*** Add File: b.txt/below\n+x",
    ];
    for (const body of bad) {
      const { outcome } = await envelope(body);
      expect(outcome, body).to.equal("failed");
      expect([await get("a.txt"), await get("b.txt")]).to.deep.equal(["one\n", "two\n"]);
    }
  });

  it("undoes what was done when a write fails in the middle", async function () {
    if (process.getuid?.() === 0) return this.skip();
    await put("a.txt", "one\n");
    await mkdir(join(root, "locked"), { mode: 0o555 });
    const { outcome, text } = await envelope(
      "*** Update File: a.txt\n-one\n+1\n*** Add File: locked/b.txt\n+x",
    );
    expect(outcome).to.equal("failed");
    expect(text).to.include("nothing was changed");
    expect(await get("a.txt")).to.equal("one\n");
  });

  it("wants the context exactly, says what is missing, and finds the one place", async () => {
    await put("a.txt", "  if (x) {\n    go();\n  }\n  if (y) {\n    go();\n  }\n");
    const only = await envelope("*** Update File: a.txt\n-    go();\n+    stop();");
    expect(only.text).to.include("fits in more than one place (lines 2 and 5)");
    const spaces = await envelope("*** Update File: a.txt\n-  go();\n+  stop();");
    expect(spaces.text).to.include("only its spaces differ");
    const anchored = "*** Update File: a.txt\n@@   if (y) {\n-    go();\n+    stop();";
    expect((await envelope(anchored)).outcome).to.equal("ok");
    expect(await get("a.txt")).to.equal(
      "  if (x) {\n    go();\n  }\n  if (y) {\n    stop();\n  }\n",
    );
  });

  it("takes unified diffs whose line numbers are off, as long as the place is the only one", async () => {
    await put("a.txt", "a\nb\nc\nd\ne\n");
    const diff = "--- a/a.txt\n+++ b/a.txt\n@@ -40,2 +40,2 @@\n c\n-d\n+D\n";
    expect((await apply(diff)).outcome).to.equal("ok");
    expect(await get("a.txt")).to.equal("a\nb\nc\nD\ne\n");
  });

  it("keeps line ends of Windows", async () => {
    await put("a.txt", "a\r\nb\r\n");
    expect((await apply("--- a.txt\n+++ a.txt\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n")).outcome).to.equal(
      "ok",
    );
    expect(await get("a.txt")).to.equal("a\r\nc\r\n");
  });

  it("names what is wrong with a patch", async () => {
    const cases: readonly [string, string][] = [
      ["", "changes no file"],
      ["hello", "changes no file"],
      ["*** Begin Patch\n*** Update File: a\n-x\n+y", "*** End Patch is missing"],
      ["*** Begin Patch\n*** Add File: a\nx\n*** End Patch", "lines of a new file begin with +"],
      ["*** Begin Patch\nwhat\n*** End Patch", "wants *** Add File"],
      ["*** Begin Patch\n*** Update File: a\n*** End Patch", "has no change"],
      ["@@ -1 +1 @@\n-a\n+b\n", "without `--- a/file`"],
      ["--- a\n+++ b\n@@ -1,9 +1 @@\n-a\n", "says 9 and 1 lines, but has 1 and 0"],
      ["--- a\n+++ a\n@@ broken @@\n-a\n", "wants `@@ -line,count"],
      ["diff --git a/x b/x\nGIT binary patch\n", "binary files cannot be patched"],
    ];
    for (const [patch, words] of cases) {
      const { outcome, text } = await apply(patch);
      expect(outcome, patch).to.equal("malformed");
      expect(text).to.include(words);
    }
  });

  const lines = fc.array(fc.constantFrom("a", "b", "", "  c", "x y", "- d", "+e", "@@"), {
    maxLength: 12,
  });
  const texts = fc
    .tuple(lines, fc.boolean())
    .map(([all, isEnded]) => all.join("\n") + (isEnded && all.length > 0 ? "\n" : ""));

  it("property: a diff of two texts makes one of the other", async () => {
    await fc.assert(
      fc.asyncProperty(texts, texts, async (before, after) => {
        fc.pre(before !== after && before !== "" && after !== "");
        await put("f", before);
        const patch = createTwoFilesPatch("a/f", "b/f", before, after, "", "", { context: 3 });
        const { outcome, text } = await apply(patch.replace(/^=+\n/, ""));
        expect(outcome, `${text}\n${patch}`).to.equal("ok");
        expect(await get("f")).to.equal(after);
      }),
      { numRuns: 300 },
    );
  });

  it("takes what git itself writes", async () => {
    const git = (...args: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", ...args], {
        cwd: root,
        encoding: "utf8",
      });
    git("init", "--quiet");
    await put("a.txt", "one\ntwo\nthree");
    await put("b.txt", "b\n");
    git("add", ".");
    git("commit", "--quiet", "-m", "start");
    await put("a.txt", "one\n2\nthree\n");
    git("mv", "b.txt", "c.txt");
    await put("run.sh", "#!/bin/sh\n");
    await chmod(join(root, "run.sh"), 0o755);
    git("add", ".");
    const patch = git("diff", "--cached", "--no-renames");
    git("reset", "--quiet", "--hard");
    expect((await apply(patch)).text).to.include("changed a.txt");
    git("add", ".");
    expect(git("diff", "--cached", "--no-renames")).to.equal(patch);
  });
});
