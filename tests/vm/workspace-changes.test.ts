/** What a job changed: told rightly, and as a patch that real git applies. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { makeGitPatch } from "../../services/vm/runner/workspace/git-patch.ts";
import { compareArchives } from "../../services/vm/runner/workspace/workspace-changes.ts";
import {
  edits,
  entry,
  file,
  gitView,
  link,
  readTree,
  type Tree,
  tarOf,
  writeTree,
} from "./archives.ts";

const { signal } = new AbortController();
const maxBytes = 1 << 30;

describe("workspace changes", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "dm-changes-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function compare(before: Buffer | undefined, after: Buffer) {
    const old = before && { path: join(folder, "before.tar"), maxBytes };
    const fresh = { path: join(folder, "after.tar"), maxBytes };
    if (old && before) await writeFile(old.path, before);
    await writeFile(fresh.path, after);
    const found = await compareArchives(old, fresh, signal);
    const patch = await makeGitPatch(found.changes, old, fresh, signal);
    return { ...found, patch };
  }

  /** The tree that `git apply` makes of another one. */
  async function applied(before: Tree, patch: string): Promise<Map<string, string>> {
    const at = await mkdtemp(join(folder, "tree-"));
    await writeTree(at, before);
    if (patch !== "") {
      const env = { ...process.env, GIT_CEILING_DIRECTORIES: folder };
      const { status, stderr } = spawnSync("git", ["apply", "-"], { cwd: at, input: patch, env });
      if (status !== 0) throw new Error(`git apply: ${stderr}\n${patch}`);
    }
    return readTree(at);
  }

  it("make a patch that turns the old tree into the new one", async () => {
    await fc.assert(
      fc.asyncProperty(edits, async ({ before, after }) => {
        const { patch } = await compare(tarOf(before), tarOf(after));
        expect(await applied(before, patch)).to.deep.equal(gitView(after));
      }),
      { numRuns: 40 },
    );
  });

  it("make a patch from nothing where there was no workspace", async () => {
    const tree: Tree = new Map([
      ["empty", file("")],
      ["run.sh", file("#!/bin/sh\n", 0o755)],
      ["there", link("empty")],
    ]);
    const { patch } = await compare(undefined, tarOf(tree));
    expect(await applied(new Map(), patch)).to.deep.equal(gitView(tree));
  });

  it("replace a text as a whole where looking closer would take too long", async () => {
    const lines = (sign: string) => Array.from({ length: 20_000 }, (_, i) => `${sign}${i}\n`);
    const before: Tree = new Map([["big", file(lines("a").join(""))]]);
    const after: Tree = new Map([["big", file(`${lines("b").join("")}end`)]]);
    const { patch } = await compare(tarOf(before), tarOf(after));
    expect(await applied(before, patch)).to.deep.equal(gitView(after));
  });

  it("name a file that is too large, and leave the rest of the patch whole", async () => {
    const after: Tree = new Map([
      ["large", file(Buffer.alloc(2 << 20, "x"))],
      ["small", file("s\n")],
    ]);
    const { patch, changes } = await compare(undefined, tarOf(after));
    expect(changes.map(({ path }) => path)).to.deep.equal(["large", "small"]);
    expect(patch).to.match(/^# too large for this patch: large\n/);
    expect([...(await applied(new Map(), patch)).keys()]).to.deep.equal(["small"]);
  });

  it("tell added, changed and removed files apart, by content or by mode", async () => {
    const before: Tree = new Map([
      ...([
        ["same", file("s")],
        ["content", file("1")],
        ["mode", file("m")],
      ] as const),
      ["gone", file("g")],
    ]);
    const after: Tree = new Map([
      ...([
        ["same", file("s")],
        ["content", file("2")],
        ["mode", file("m", 0o755)],
      ] as const),
      ["new", file("n")],
    ]);
    const { changes } = await compare(tarOf(before), tarOf(after));
    const kinds = changes.map(({ path, before: old, after: fresh }) => [path, !!old, !!fresh]);
    expect(kinds).to.deep.equal([
      ["content", true, true],
      ["gone", true, false],
      ["mode", true, true],
      ["new", false, true],
    ]);
  });

  it("do not look into .git, however deep", async () => {
    const after: Tree = new Map([
      [".git/HEAD", file("x")],
      ["sub/.git", file("gitdir: y")],
      [".gitignore", file("z")],
    ]);
    const { changes } = await compare(undefined, tarOf(after));
    expect(changes.map(({ path }) => path)).to.deep.equal([".gitignore"]);
  });

  it("take a further name of a file for a file of its own", async () => {
    const tree: Tree = new Map([["a", file("same\n")]]);
    const second = entry({ type: "link", path: "b", target: "a" });
    const { patch } = await compare(tarOf(tree), tarOf(tree, second));
    const expected = gitView(new Map([...tree, ["b", file("same\n")]]));
    expect(await applied(tree, patch)).to.deep.equal(expected);
  });

  it("name what no archive may hold, and keep the rest", async () => {
    const pipe = entry({ type: "file", path: "pipe" });
    pipe.write("6", 156, "latin1");
    pipe.write("        ", 148, "latin1");
    const sum = pipe.reduce((total, byte) => total + byte, 0);
    pipe.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    const out = entry({ type: "symlink", path: "venv/python", target: "/usr/bin/python3" });
    const last = entry({ type: "file", path: "last" });
    const { changes, unsafe } = await compare(
      undefined,
      tarOf(new Map([["first", file("f")]]), pipe, out, last),
    );
    expect(unsafe).to.deep.equal(["pipe", "venv/python"]);
    expect(changes.map(({ path }) => path)).to.deep.equal(["first", "last"]);
  });
});
