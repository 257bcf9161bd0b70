/** Folders on the way in: always the same bytes, `.gitignore` honoured, no link out. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type PackedWorkspace,
  packWorkspace,
  WorkspaceError,
  walkDocuments,
} from "@devmesh/sdk/node";
import { expect } from "chai";
import { collect } from "./collect.ts";
import { tempFolder } from "./temp-folder.ts";

/** What the system's own tar sees in an archive. */
async function listing(packed: PackedWorkspace): Promise<string[]> {
  const input = Buffer.concat(await collect(packed.open()));
  expect(createHash("sha256").update(input).digest("hex")).to.equal(packed.sha256);
  expect(input.length).to.equal(packed.sizeBytes);
  const text = execFileSync("tar", ["tzf", "-"], { input, encoding: "utf8" });
  return text.split("\n").filter((name) => name !== "");
}

async function packed<T>(
  folder: string,
  use: (packed: PackedWorkspace) => Promise<T>,
  options = {},
) {
  const workspace = await packWorkspace(folder, options);
  try {
    return await use(workspace);
  } finally {
    await workspace.dispose();
  }
}

describe("packWorkspace", () => {
  it("packs files, folders, links and modes, without times", async () => {
    using folder = tempFolder({ "b.txt": "b", "a/deep/x": "x" });
    folder.write("run.sh", "#!/bin/sh\n", 0o755);
    mkdirSync(join(folder.path, "empty"));
    symlinkSync("../b.txt", join(folder.path, "a/link"));
    await packed(folder.path, async (workspace) => {
      expect(await listing(workspace)).to.deep.equal([
        "a/",
        "a/deep/",
        "a/deep/x",
        "a/link",
        "b.txt",
        "empty/",
        "run.sh",
      ]);
      expect(workspace.fileCount).to.equal(4);
      const input = Buffer.concat(await collect(workspace.open()));
      const long = execFileSync("tar", ["tvzf", "-"], { input, encoding: "utf8" });
      expect(long)
        .to.match(/-rwxr-xr-x .*run\.sh/)
        .and.match(/a\/link -> \.\.\/b\.txt/);
    });
  });

  it("makes the same bytes of the same files, whatever their times and owners' modes", async () => {
    const files = { "b.txt": "b", "a/deep/x": "x".repeat(3_000_000), "ü/ß.txt": "u" };
    using one = tempFolder(files);
    using two = tempFolder(Object.fromEntries(Object.entries(files).reverse()));
    utimesSync(join(two.path, "b.txt"), 1, 1);
    chmodSync(join(two.path, "b.txt"), 0o600);
    const digest = (folder: string) => packed(folder, async ({ sha256 }) => sha256);
    expect(await digest(two.path)).to.equal(await digest(one.path));
  });

  it("keeps long names and large files whole", async () => {
    const name = `${"long/".repeat(40)}${"n".repeat(120)}.txt`;
    using folder = tempFolder({ [name]: "z".repeat(5_000_000) });
    using target = tempFolder();
    await packed(folder.path, async (workspace) => {
      const input = Buffer.concat(await collect(workspace.open()));
      execFileSync("tar", ["xzf", "-", "-C", target.path], { input });
      execFileSync("diff", ["-r", folder.path, target.path]);
    });
  });

  it("honours nested, negated and parents' .gitignore, and leaves VCS folders out", async () => {
    using repo = tempFolder({
      ".git/HEAD": "ref",
      ".git/info/exclude": "local.txt\n",
      ".gitignore": "*.log\nnode_modules/\n/sub/build/\n",
      "sub/.gitignore": "!keep.log\n",
      "sub/keep.log": "",
      "sub/drop.log": "",
      "sub/build/out": "",
      "sub/node_modules/m/index.js": "",
      "sub/local.txt": "",
      "sub/src/build/kept": "",
    });
    await packed(join(repo.path, "sub"), async (workspace) => {
      const names = await listing(workspace);
      const expected = [".gitignore", "keep.log", "src/", "src/build/", "src/build/kept"];
      expect(names).to.deep.equal(expected);
      expect(workspace.skipped.map(({ path }) => path)).to.deep.equal([
        "build",
        "drop.log",
        "local.txt",
        "node_modules",
      ]);
    });
    const whole = await packed(repo.path, listing, { gitignore: false });
    expect(whole).to.include.members(["sub/drop.log", "sub/node_modules/m/index.js"]);
    expect(whole.join()).to.not.include(".git/");
  });

  it("takes what is in an ignored folder that is named itself", async () => {
    using repo = tempFolder({ ".git/HEAD": "", ".gitignore": "out/\n", "out/app.js": "1" });
    expect(await packed(join(repo.path, "out"), listing)).to.deep.equal(["app.js"]);
  });

  for (const [what, target] of [
    ["upwards", "../outside"],
    ["to an absolute path", "/etc/hosts"],
    ["over another link", "dir/up/../outside"],
  ] as const) {
    it(`refuses a link that leads out ${what}`, async () => {
      using outer = tempFolder({ outside: "secret", "ws/dir/x": "" });
      const root = join(outer.path, "ws");
      mkdirSync(join(root, "real/inner"), { recursive: true });
      symlinkSync("../real/inner", join(root, "dir/up"));
      if (what === "over another link") {
        symlinkSync("real/inner", join(root, "hop"));
        symlinkSync("hop/../../../outside", join(root, "bad"));
      } else symlinkSync(target, join(root, "bad"));
      const error = await packWorkspace(root).catch((caught: unknown) => caught);
      expect(error).to.be.instanceOf(WorkspaceError).and.include({ path: "bad" });
    });
  }

  it("takes a refused link when it is ignored", async () => {
    using folder = tempFolder({ ".gitignore": "bad\n" });
    symlinkSync("/etc/hosts", join(folder.path, "bad"));
    execFileSync("mkdir", [join(folder.path, ".git")]);
    expect(await packed(folder.path, listing)).to.deep.equal([".gitignore"]);
  });

  it("refuses a pipe, a missing folder, a file, and too much", async () => {
    using folder = tempFolder({ file: "x".repeat(1000) });
    const refusal = (path: string, options = {}) =>
      packWorkspace(path, options).catch((caught: unknown) => caught);
    expect(await refusal(join(folder.path, "nope"))).to.be.instanceOf(WorkspaceError);
    expect(await refusal(join(folder.path, "file"))).to.be.instanceOf(WorkspaceError);
    expect(await refusal(folder.path, { maxBytes: 999 })).to.be.instanceOf(WorkspaceError);
    execFileSync("mkfifo", [join(folder.path, "pipe")]);
    expect(await refusal(folder.path))
      .to.be.instanceOf(WorkspaceError)
      .and.include({ path: "pipe" });
  });

  it("removes its temporary file, also on an abort", async () => {
    using folder = tempFolder({ file: "x" });
    const workspace = await packWorkspace(folder.path);
    await workspace.dispose();
    const gone = await collect(workspace.open()).catch((caught: unknown) => caught);
    expect(gone).to.include({ code: "ENOENT" });
    const signal = AbortSignal.abort();
    const error = await packWorkspace(folder.path, { signal }).catch((e: unknown) => e);
    expect(error).to.include({ name: "AbortError" });
  });
});

describe("walkDocuments", () => {
  it("finds text and tells why the rest is left out", async () => {
    using repo = tempFolder({
      ".git/HEAD": "ref",
      ".gitignore": "ignored.md\n",
      "ignored.md": "",
      "node_modules/m/readme.md": "",
      "docs/a.md": "# ä",
      "b.ts": "export {}",
    });
    using outer = tempFolder({ secret: "s" });
    repo.write("nul.bin", Buffer.from([65, 0, 66]));
    repo.write("latin.txt", Buffer.from([0xe4, 0xf6]));
    repo.write("big.txt", "x".repeat(4 * 1024 * 1024 + 1));
    symlinkSync(join(outer.path, "secret"), join(repo.path, "out-link"));
    symlinkSync("b.ts", join(repo.path, "in-link"));
    execFileSync("mkfifo", [join(repo.path, "pipe")]);
    const found = await collect(walkDocuments(repo.path));
    const texts = found.filter((item) => item.kind === "document");
    expect(texts.map(({ source }) => source)).to.deep.equal([".gitignore", "b.ts", "docs/a.md"]);
    expect(texts.at(-1)?.text).to.equal("# ä");
    const skips = found.filter((item) => item.kind === "skipped");
    const reasons = Object.fromEntries(skips.map(({ source, reason }) => [source, reason]));
    expect(reasons).to.deep.equal({
      ".git": "vcs",
      "ignored.md": "ignored",
      node_modules: "dependencies",
      "nul.bin": "binary",
      "latin.txt": "binary",
      "big.txt": "too-large",
      "out-link": "outside",
      pipe: "special",
    });
  });

  it("takes a single file, and refuses what is not there", async () => {
    using folder = tempFolder({ "one.md": "1" });
    const [only] = await collect(walkDocuments(join(folder.path, "one.md")));
    expect(only).to.include({ kind: "document", source: "one.md", text: "1" });
    const missing = join(folder.path, "nope");
    expect(existsSync(missing)).to.equal(false);
    const error = await collect(walkDocuments(missing)).catch((caught: unknown) => caught);
    expect(error).to.be.instanceOf(WorkspaceError);
  });

  it("tells a file that cannot be read", async function () {
    if (process.getuid?.() === 0) this.skip();
    using folder = tempFolder();
    writeFileSync(join(folder.path, "locked"), "", { mode: 0 });
    const [only] = await collect(walkDocuments(folder.path));
    expect(only).to.include({ kind: "skipped", reason: "unreadable" });
  });
});
