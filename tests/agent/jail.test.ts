/** The jail: nothing outside the work dir is read or written, whatever the path and the links. */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, realpath, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { isInside, Jail } from "../../agents/coder/src/tools/jail.ts";
import { ToolError } from "../../agents/coder/src/tools/tool.ts";
import { TempFolders } from "./temp-folder.ts";
import { toolsOf } from "./toolbox-for.ts";

describe("jail", function () {
  this.timeout(60_000);
  const folders = new TempFolders();
  let outer: string;
  let root: string;
  let jail: Jail;

  /** A work dir with links of every kind, beside a folder that must stay as it is. */
  beforeEach(async () => {
    outer = await folders.make();
    root = join(outer, "work");
    await mkdir(join(root, "a", "b"), { recursive: true });
    await mkdir(join(outer, "secret"));
    await mkdir(join(outer, "work-2"));
    await writeFile(join(outer, "secret", "key"), "secret");
    await writeFile(join(root, "a", "file"), "inside");
    await symlink("a", join(root, "in"));
    await symlink("../secret", join(root, "out"));
    await symlink("../secret/key", join(root, "key"));
    await symlink(join(outer, "secret"), join(root, "a", "far"));
    await symlink("../secret/new", join(root, "hollow"));
    await symlink("out", join(root, "twice"));
    await symlink("loop", join(root, "loop"));
    await symlink("..", join(root, "up"));
    jail = await Jail.open(root);
  });
  afterEach(() => folders.clear());

  async function refused(path: string): Promise<string> {
    try {
      const { real } = await jail.resolve(path);
      return `accepted as ${real}`;
    } catch (error) {
      expect(error).to.be.instanceOf(ToolError);
      return "refused";
    }
  }

  it("takes paths inside, also absolute, over inner links and of files to be", async () => {
    const cases: readonly [string, string, boolean][] = [
      ["a/file", "a/file", true],
      ["./a//b/../file", "a/file", true],
      [join(root, "a/file"), "a/file", true],
      ["in/file", "a/file", true],
      ["in/new/deep/file", "a/new/deep/file", false],
      ["..name", "..name", false],
      [".", ".", true],
    ];
    for (const [path, real, exists] of cases) {
      const found = await jail.resolve(path);
      expect(found, path).to.include({ real: resolve(root, real), exists });
    }
  });

  it("refuses paths and links that lead out", async () => {
    const paths = [
      "..",
      "../work-2/x",
      "../secret/key",
      "a/../../secret/key",
      "/etc/passwd",
      join(outer, "secret/key"),
      `${root}-2/x`,
      "out",
      "out/key",
      "out/new",
      "key",
      "a/far/key",
      "hollow",
      "hollow/x",
      "twice/key",
      "loop",
      "up",
      "up/secret/key",
      "a/file/below",
      "",
      "a\0b",
    ];
    for (const path of paths) expect(await refused(path), path).to.equal("refused");
  });

  it("opens a work dir that is itself a link", async () => {
    await symlink("work", join(outer, "alias"));
    const alias = await Jail.open(join(outer, "alias"));
    expect(alias.root).to.equal(root);
    expect(await alias.resolve("a/file")).to.include({ shown: "a/file" });
  });

  const names = fc.constantFrom(
    "a",
    "b",
    "file",
    "in",
    "out",
    "up",
    "far",
    "key",
    "hollow",
    "twice",
    "loop",
    "new",
    "..",
    ".",
    "",
    "secret",
    "work",
  );
  const anyPath = () =>
    fc
      .tuple(fc.constantFrom("", "/", `${root}/`, `${outer}/`), fc.array(names, { maxLength: 6 }))
      .map(([start, parts]) => start + parts.join("/"));

  it("property: what it takes has its nearest real parent inside", async () => {
    await fc.assert(
      fc.asyncProperty(anyPath(), async (path) => {
        let real: string;
        try {
          ({ real } = await jail.resolve(path));
        } catch (error) {
          expect(error).to.be.instanceOf(ToolError);
          return;
        }
        let parent = real;
        while (!existsSync(parent)) parent = dirname(parent);
        expect(isInside(root, await realpath(parent)), `${path} became ${real}`).to.equal(true);
        expect(parent, "no link is left to follow").to.equal(await realpath(parent));
      }),
      { numRuns: 500 },
    );
  });

  it("property: plain names are always taken", async () => {
    const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });
    const plain = name.filter((n) => !/[/\0]/.test(n) && n !== "." && n !== "..");
    const isNew = (n: string) => !existsSync(join(root, n));
    await fc.assert(
      fc.asyncProperty(
        fc.array(plain.filter(isNew), { minLength: 1, maxLength: 4 }),
        async (parts) => {
          const path = parts.join("/");
          expect(await jail.resolve(path)).to.include({ real: join(root, path), exists: false });
        },
      ),
      { numRuns: 200 },
    );
  });

  it("property: no file tool changes or shows anything outside", async () => {
    const call = await toolsOf(root);
    const tool = fc.constantFrom("write_file", "edit_file", "read_file", "list_files", "search");
    await fc.assert(
      fc.asyncProperty(tool, anyPath(), async (name, path) => {
        const args = { path, content: "x", oldText: "secret", newText: "x", pattern: "secret" };
        const result = await call(name, args);
        // The words of links and refusals name paths; the content is what must not come out.
        if (result.outcome === "ok") expect(result.text).not.to.match(/^(\S+: )?secret$/m);
        expect(await readFile(join(outer, "secret", "key"), "utf8")).to.equal("secret");
        expect(await readdir(join(outer, "secret"))).to.deep.equal(["key"]);
        expect(await readdir(join(outer, "work-2"))).to.deep.equal([]);
        expect((await readdir(outer)).sort()).to.deep.equal(["secret", "work", "work-2"]);
      }),
      { numRuns: 400 },
    );
  });
});
