/** What changes while a tool works leads nowhere: swapped links, moved folders, hard links. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { link, mkdir, readdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { openFile } from "../../agents/coder/src/tools/inside.ts";
import { Jail } from "../../agents/coder/src/tools/jail.ts";
import { TempFolders } from "./temp-folder.ts";
import { type CallTool, toolsOf } from "./toolbox-for.ts";

/** Swaps a folder and a link that leads out, as quickly as it can, until it is told to end. */
const racer = `
  const { existsSync, lstatSync, renameSync, rmSync, symlinkSync } = require("node:fs");
  let on = true;
  process.on("message", () => { on = false; });
  const isLink = (path) => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  // A tool may have made the folder anew in the moment in which it was not there.
  const repair = () => {
    if (existsSync("aside")) {
      rmSync("dir", { recursive: true, force: true });
      renameSync("aside", "dir");
    }
    if (!isLink("link")) symlinkSync("../secret", "link");
  };
  const spin = () => {
    for (let i = 0; i < 200; i++) {
      try {
        renameSync("dir", "aside"); renameSync("link", "dir");
        renameSync("dir", "link"); renameSync("aside", "dir");
      } catch {
        // The tool may be writing there just now: the next round tries again.
        try { repair(); } catch {}
      }
    }
    if (on) setImmediate(spin); else process.exit(0);
  };
  process.send("ready");
  spin();
`;

describe("a jail in a race", function () {
  this.timeout(120_000);
  const folders = new TempFolders();
  let outer: string;
  let root: string;
  let call: CallTool;

  beforeEach(async () => {
    outer = await folders.make();
    root = join(outer, "work");
    await mkdir(join(root, "dir"), { recursive: true });
    await mkdir(join(outer, "secret"));
    await writeFile(join(outer, "secret", "key"), "secret\n");
    await writeFile(join(root, "dir", "key"), "inside\n");
    call = await toolsOf(root);
  });
  afterEach(() => folders.clear());

  it("shows and changes nothing outside while a folder turns into a link and back", async () => {
    await symlink("../secret", join(root, "link"));
    const script = join(outer, "racer.cjs");
    await writeFile(script, racer);
    const child = fork(script, { cwd: root });
    await once(child, "message");
    try {
      const calls: readonly [string, Record<string, unknown>][] = [
        ["read_file", { path: "dir/key" }],
        ["write_file", { path: "dir/fresh", content: "x" }],
        ["write_file", { path: "dir/deep/fresh", content: "x" }],
        ["edit_file", { path: "dir/key", oldText: "secret", newText: "broken" }],
        ["apply_patch", { patch: "*** Begin Patch\n*** Delete File: dir/key\n*** End Patch" }],
        ["list_files", { path: "dir" }],
        ["search", { pattern: "secret" }],
        ["search", { pattern: "secret", path: "dir" }],
      ];
      let done = 0;
      for (let i = 0; i < 25; i++) {
        for (const [name, args] of calls) {
          const { outcome, text } = await call(name, args);
          if (outcome === "ok") done += 1;
          const shown = text.split("\n").filter((line) => !line.startsWith("error:"));
          expect(shown.join("\n"), name).not.to.match(/: secret$/m);
        }
        await call("write_file", { path: "dir/key", content: "inside\n" });
        expect(await readFile(join(outer, "secret", "key"), "utf8")).to.equal("secret\n");
        expect(await readdir(join(outer, "secret"))).to.deep.equal(["key"]);
      }
      expect(done, "some calls met the folder itself").to.be.greaterThan(10);
    } finally {
      child.send("end");
      await once(child, "exit");
    }
  });

  it("refuses a folder that became a link after it was checked", async () => {
    const jail = await Jail.open(root);
    const path = await jail.resolve("dir/key");
    await rename(join(root, "dir"), join(root, "aside"));
    await symlink(join(outer, "secret"), join(root, "dir"));
    try {
      await openFile(path, 0);
      expect.fail("it was opened");
    } catch (error) {
      expect(String(error)).to.match(/dir\/key: (a part of it is a file|is a link)/);
    }
  });

  it("refuses a file with a name outside, and takes one whose names are all inside", async () => {
    await link(join(outer, "secret", "key"), join(root, "hard"));
    for (const [name, args] of [
      ["read_file", {}],
      ["write_file", { content: "x" }],
      ["edit_file", { oldText: "secret", newText: "x" }],
    ] as const) {
      const { outcome, text } = await call(name, { path: "hard", ...args });
      expect([outcome, text]).to.deep.equal([
        "failed",
        "error: hard: is a hard link with a name outside the work dir",
      ]);
    }
    expect((await call("search", { pattern: "secret" })).text).to.equal("no line matches");
    expect(await readFile(join(outer, "secret", "key"), "utf8")).to.equal("secret\n");

    await link(join(root, "dir", "key"), join(root, "twin"));
    expect((await call("read_file", { path: "twin" })).text).to.equal("1: inside");
  });
});
